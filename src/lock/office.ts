import { abortFanOut } from '../core/abort.js';
import { type Clock, systemClock } from '../core/clock.js';
import { type Deferred, deferred } from '../core/deferred.js';
import { closedError } from '../core/errors.js';
import { systemRandom } from '../core/random.js';
import { workGate } from '../core/work-gate.js';
import { type Contender, contender } from './contender.js';
import type { LockContext } from './context.js';
import { lockChannels } from './diagnostics.js';
import { leaseKeeper } from './lease-keeper.js';
import type { Lease, LockOptions } from './lock.js';
import { lockNode } from './node.js';
import { lockRecorder } from './statistics.js';
import type { Claim } from './waiting-room.js';

/** The contenders of one lock, one a resource, from the first claim to the close. */
export interface LockOffice {
  readonly context: LockContext;
  /** Throws CLOSED once closed. */
  assertOpen(): void;
  /** Runs work that `close` waits for, also when its lease is lost before it ends. */
  run<T>(work: () => Promise<T>): Promise<T>;
  claim(resource: string, claim: Claim): Promise<Lease | undefined>;
  close(drainMs: number): Promise<void>;
}

/** What is given back at the close is waited for so long. */
const GIVE_BACK_MS_MAX = 1_000;
const LOCAL_HANDOFFS = 16;

/** Opens the driver for one lock. */
export function lockOffice(nodeId: string, options: LockOptions): LockOffice {
  const { driver, clock = systemClock, random = systemRandom } = options;
  const { localHandoffs = LOCAL_HANDOFFS } = options;
  const node = lockNode({ nodeId, clock, random });
  const backend = driver.open(node);
  const gate = workGate(named(nodeId), clock);
  const unfinished = new Set<Promise<unknown>>();
  const contenders = new Map<string, Contender>();
  let quiet: Deferred<void> | undefined;
  let closing: Promise<void> | undefined;

  const context: LockContext = {
    node,
    backend,
    backendName: driver.backend,
    keeper: leaseKeeper(backend, clock),
    recorder: lockRecorder(),
    channels: lockChannels(),
    limits: { localHandoffs },
    onAbort: abortFanOut(),
    background(work) {
      const done = (): void => void unfinished.delete(work);
      unfinished.add(work);
      work.then(done, done);
    },
  };
  const contenderOf = (resource: string): Contender => {
    const known = contenders.get(resource);
    if (known !== undefined) return known;
    const created = contender(context, resource, () => {
      if (contenders.get(resource) === created) contenders.delete(resource);
      if (contenders.size === 0) quiet?.resolve();
    });
    contenders.set(resource, created);
    return created;
  };
  const close = async (drainMs: number): Promise<void> => {
    const drained = gate.close(drainMs);
    quiet = deferred();
    if (contenders.size > 0) await atMost(clock, drainMs, quiet.promise);
    await drained;
    const reason = closedError(named(nodeId));
    for (const each of Array.from(contenders.values())) each.shut(reason);
    await atMost(clock, GIVE_BACK_MS_MAX, allDone(unfinished));
    context.keeper.close();
    await backend.close();
  };
  return {
    context,
    assertOpen() {
      if (gate.isClosed) throw closedError(named(nodeId));
    },
    run: (work) => gate.run(work),
    claim: (resource, claim) => contenderOf(resource).claim(claim),
    close(drainMs) {
      closing ??= close(drainMs);
      return closing;
    },
  };
}

const named = (nodeId: string): string => `the lock of node "${nodeId}"`;

/** Waits until nothing is left: a request that ends may bring a grant, which is then given back. */
async function allDone(work: ReadonlySet<Promise<unknown>>): Promise<void> {
  while (work.size > 0) await Promise.allSettled(work);
}

/** Waits for work that does not reject, or until the time is over. */
async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  let cancel = (): void => {};
  const late = new Promise<void>((resolve) => {
    cancel = clock.schedule(ms, resolve);
  });
  await Promise.race([work, late]);
  cancel();
}
