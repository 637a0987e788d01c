import { instantOf } from '../core/clock.js';
import type { Answer, LeaseAnswer } from './authority.js';
import { foundAt, type Parts, unlessOutdated, unlessUnfit } from './authority-reads.js';
import type { Failed } from './tier-calls.js';

/** A request for a lease. */
export interface LeaseRequest {
  readonly key: string;
  readonly token: string;
  readonly timeoutMs: number;
  readonly refresh: boolean | undefined;
  readonly isCounted: boolean | undefined;
}

/** Every miss comes this way: one promise, without an async function's own. Never rejects. */
export function lease<Stored>(
  parts: Parts<Stored>,
  leaseMs: number,
  { key, token, timeoutMs, refresh, isCounted }: LeaseRequest,
): Promise<Answer<LeaseAnswer>> {
  const { node, counter, tier } = parts;
  const counted = (answer: Answer<LeaseAnswer>): Answer<LeaseAnswer> => {
    if (isCounted && answer.state === 'found') counter.hitCount += 1;
    else if (isCounted) counter.missCount += 1;
    return answer;
  };
  const failed = (error: unknown): Failed => parts.failed('lease', key, error);
  const since = instantOf(node.clock);
  try {
    return tier.lease(key, token, leaseMs, { timeoutMs, refresh }).then(
      (reply) => {
        if (reply.state !== 'found') return counted(reply);
        const found = async (): Promise<LeaseAnswer> => {
          const entry = foundAt(parts, key, since, reply.entry);
          return unlessUnfit(parts, key, await unlessOutdated(parts, entry, timeoutMs));
        };
        return found().catch(failed).then(counted);
      },
      (error) => counted(failed(error)),
    );
  } catch (error) {
    return Promise.resolve(counted(failed(error)));
  }
}
