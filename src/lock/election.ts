import { sleep } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { closedError, isCoordinationError } from '../core/errors.js';
import type { HeldLease } from './lease.js';
import type { Lease } from './leases.js';
import type { Election } from './lock.js';
import { atMost } from './office.js';
import type { ElectOptions } from './options.js';
import { type LockSelf, take } from './self.js';
import type { Claim } from './waiting-room.js';

/** The work of a leader that resigns is waited for so long. */
const RESIGN_MS_MAX = 5_000;
const RETRY = { baseMs: 100, maxMs: 5_000 };

/** What a candidature remembers. */
interface Candidate {
  readonly self: LockSelf;
  readonly name: string;
  readonly claim: Claim;
  readonly onElected: ElectOptions['onElected'];
  readonly ending: AbortController;
  lease: HeldLease | undefined;
}

/** Stands for an office, again and again, until it is closed. `claim` has no end but a signal. */
export function elect(
  self: LockSelf,
  name: string,
  claim: Claim,
  { onElected, signal }: ElectOptions,
): Election {
  const { onAbort } = self.office.context;
  const ending = new AbortController();
  const reason = closedError(`the candidature for "${name}"`);
  const end = (): void => ending.abort(reason);
  const candidate: Candidate = {
    ...{ self, name, onElected, ending, lease: undefined },
    claim: { ...claim, signal: ending.signal },
  };
  const stops = [onAbort(signal, end), onAbort(self.office.closing, end)];
  const closed = stand(candidate).finally(() => {
    for (const stop of stops) stop();
  });
  const close = (): Promise<void> => {
    end();
    return closed;
  };
  return {
    name,
    get isLeader() {
      return candidate.lease?.isHeld === true;
    },
    get lease() {
      const { lease } = candidate;
      return lease?.isHeld === true ? (lease as unknown as Lease) : undefined;
    },
    closed,
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function stand(candidate: Candidate): Promise<void> {
  const { self, name, claim, ending } = candidate;
  const { node } = self.office.context;
  let failureCount = 0;
  while (!ending.signal.aborted) {
    let isFailed = false;
    try {
      const lease = await take(self, name, claim);
      if (lease !== undefined) isFailed = await lead(candidate, lease);
    } catch (error) {
      if (ending.signal.aborted || isCoordinationError(error, 'CLOSED')) return;
      isFailed = true;
    }
    failureCount = isFailed ? failureCount + 1 : 0;
    if (!isFailed) continue;
    const delayMs = backoffMs(failureCount, RETRY, node.random);
    await sleep(node.clock, delayMs, { signal: ending.signal, keepAlive: false }).catch(() => {});
  }
}

/** Leads until the office is lost or given up, and its work has ended. Answers whether that failed. */
async function lead(candidate: Candidate, lease: HeldLease): Promise<boolean> {
  const { self, name, ending, onElected } = candidate;
  const { channels, node, onAbort } = self.office.context;
  const { fencingToken = 0n } = lease;
  const facts = { resource: name, nodeId: node.nodeId, fencingToken };
  let failure: { readonly reason: unknown } | undefined;
  candidate.lease = lease;
  channels.elected.publish(() => facts);
  const work = (async () => onElected(lease as unknown as Lease))().then(
    () => {},
    (error) => {
      failure = { reason: error };
      void lease.release();
    },
  );
  const stop = onAbort(ending.signal, () => {
    lease.recall(ending.signal.reason);
    void atMost(node.clock, RESIGN_MS_MAX, work).then(() => lease.release());
  });
  await lease.over();
  stop();
  candidate.lease = undefined;
  const lost = lease.signal.aborted && !ending.signal.aborted ? lease.signal.reason : undefined;
  channels.resigned.publish(() => ({ ...facts, reason: failure?.reason ?? lost }));
  // Nobody is elected twice at a time; a candidature that ends does not wait for work that does not.
  const ended = new Promise<void>((resolve) => void onAbort(ending.signal, resolve));
  await Promise.race([work, ended]);
  return failure !== undefined;
}
