import { abortFanOut } from '../core/abort.js';
import { alarms } from '../core/alarms.js';
import { type Clock, systemClock } from '../core/clock.js';
import { type Deferred, deferred } from '../core/deferred.js';
import { closedError } from '../core/errors.js';
import { systemRandom } from '../core/random.js';
import { workGate } from '../core/work-gate.js';
import { Contender } from './contender.js';
import type { LockContext } from './context.js';
import { lockChannels } from './diagnostics.js';
import { leaseKeeper } from './lease-keeper.js';
import { lockNode } from './node.js';
import type { LockOptions } from './options.js';
import { lockRecorder } from './statistics.js';
import { workCount } from './work-count.js';

/** The contenders of one lock, one a resource, from the first claim to the close. */
export interface LockOffice {
  readonly context: LockContext;
  /** Aborted, with CLOSED, when the lock is closed. */
  readonly closing: AbortSignal;
  /** Throws CLOSED once closed. */
  assertOpen(): void;
  /** Runs work that `close` waits for, also when its lease is lost before it ends. */
  run<T>(work: () => Promise<T>): Promise<T>;
  contenderOf(resource: string): Contender;
  /** Whether the resource is known here, and so a resource id. */
  knows(resource: string): boolean;
  /** Whether nobody here wants, asks for or holds it, or it is kept for the next one. */
  isFreeHere(resource: string): boolean;
  close(drainMs: number): Promise<void>;
}

/** What is given back at the close is waited for so long. */
const GIVE_BACK_MS_MAX = 1_000;
const LOCAL_HANDOFFS = 16;
const RESTING_MAX = 512;

/** Opens the driver for one lock. */
export function lockOffice(nodeId: string, options: LockOptions): LockOffice {
  const context = openContext(nodeId, options);
  const { clock } = context.node;
  const gate = workGate(named(nodeId), clock);
  /** Also some with nothing to do: a resource that is used again and again needs no new one each time. */
  const contenders = new Map<string, Contender>();
  let restingCount = 0;
  const ending = new AbortController();
  let quiet: Deferred<void> | undefined;
  let closing: Promise<void> | undefined;

  const rest = (idle: Contender): void => {
    if (!idle.isResting && contenders.get(idle.resource) === idle) {
      idle.isResting = true;
      restingCount += 1;
      if (restingCount > RESTING_MAX) forget();
    }
    if (contenders.size === restingCount) quiet?.resolve();
  };
  /** Forgets half of those that rest, the oldest first. */
  const forget = (): void => {
    for (const [resource, { isResting }] of contenders) {
      if (!isResting) continue;
      contenders.delete(resource);
      restingCount -= 1;
      if (restingCount <= RESTING_MAX / 2) return;
    }
  };
  const close = async (drainMs: number): Promise<void> => {
    const reason = closedError(named(nodeId));
    const drained = gate.close(drainMs);
    quiet = deferred();
    ending.abort(reason);
    for (const each of Array.from(contenders.values())) each.stopRetaining();
    if (contenders.size > restingCount) await atMost(clock, drainMs, quiet.promise);
    await drained;
    for (const each of Array.from(contenders.values())) each.shut(reason);
    await atMost(clock, GIVE_BACK_MS_MAX, context.work.done());
    context.keeper.close();
    await context.backend.close();
  };
  return {
    context,
    closing: ending.signal,
    assertOpen() {
      if (gate.isClosed) throw closedError(named(nodeId));
    },
    run: (work) => gate.run(work),
    contenderOf(resource) {
      const known = contenders.get(resource);
      if (known === undefined) {
        const first = new Contender(context, resource, rest);
        contenders.set(resource, first);
        return first;
      }
      if (known.isResting) {
        known.isResting = false;
        restingCount -= 1;
      }
      return known;
    },
    knows: (resource) => contenders.has(resource),
    isFreeHere: (resource) => contenders.get(resource)?.isFreeHere ?? true,
    close(drainMs) {
      closing ??= close(drainMs);
      return closing;
    },
  };
}

function openContext(nodeId: string, options: LockOptions): LockContext {
  const { driver, clock = systemClock, random = systemRandom } = options;
  const { localHandoffs = LOCAL_HANDOFFS } = options;
  const node = lockNode({ nodeId, clock, random });
  const backend = driver.open(node);
  return {
    node,
    backend,
    backendName: driver.backend,
    keeper: leaseKeeper(backend, clock),
    recorder: lockRecorder(),
    channels: lockChannels(),
    limits: { localHandoffs },
    work: workCount(),
    waitEnds: alarms(clock, { keepAlive: true }),
    releaseEnds: alarms(clock, { keepAlive: false }),
    onAbort: abortFanOut(),
  };
}

const named = (nodeId: string): string => `the lock of node "${nodeId}"`;

/** Waits for work that does not reject, or until the time is over. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  let cancel = (): void => {};
  const late = new Promise<void>((resolve) => {
    cancel = clock.schedule(ms, resolve);
  });
  await Promise.race([work, late]);
  cancel();
}
