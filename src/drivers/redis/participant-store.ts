import { abortScope, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import { invalidArgument } from '../../core/validate.js';
import type { BranchOutcome, PreparedBranch } from '../../transaction/participant.js';
import type { RedisCalls } from './calls.js';
import { keyPrefixOf } from './client.js';
import { formatError, unknown } from './errors.js';
import { fenceKeys } from './fence-keys.js';
import { hashTagOf, redisKeys } from './keys.js';
import { conditionFailed, spoiltError } from './participant-errors.js';
import type { Intent } from './participant-intents.js';
import {
  ABORT,
  COMMIT,
  LOOK,
  OUTCOME,
  PARTICIPANT_FORMAT,
  PREPARE,
  RECOVER,
} from './participant-scripts.js';
import type { RedisScript } from './script.js';

/** What a participant keeps in Redis. Each method is one atomic step, sent again when a reply is lost. */
export interface ParticipantStore {
  /** Throws a TypeError for a key that lives in another slot of a cluster than the participant. */
  assertSlot(key: string): void;
  /** The key of a resource's newest fencing token. */
  fenceKey(resource: string): string;
  look(key: string, signal?: AbortSignal): Promise<string | undefined>;
  prepare(
    branchId: string,
    intents: readonly Intent[],
    how: { readonly phase: 'prepare' | 'commit'; readonly signal: AbortSignal | undefined },
  ): Promise<PrepareReply>;
  /** Ends a branch, or answers how it had ended. Without intents they are asked for first. */
  end(
    verb: 'commit' | 'abort',
    branchId: string,
    how: { readonly intents?: readonly Intent[]; readonly signal: AbortSignal | undefined },
  ): Promise<'committed' | 'aborted' | 'unknown'>;
  outcome(branchId: string, signal?: AbortSignal): Promise<BranchOutcome>;
  recover(signal?: AbortSignal): Promise<readonly PreparedBranch[]>;
}

/** What prepare answered; `key` is empty when the refusal is not about one. */
export type PrepareReply =
  | { readonly status: 'yes' | 'read-only' | 'committed' | 'aborted' }
  | { readonly status: 'no'; readonly key: string; readonly why: string };

/** What a store is made of. */
export interface StoreOptions {
  readonly name: string;
  readonly namespace: string | undefined;
  readonly hashTag: string;
  readonly calls: RedisCalls;
  readonly clock: Clock;
  readonly random: Random;
  readonly preparedMax: number;
  readonly evidenceRetainMs: number;
  readonly evidenceMax: number;
}

/** A step is sent again for so long when its caller gave no signal. */
const STEP_TIMEOUT_MS = 10_000;
const RETRY_BACKOFF = { baseMs: 20, maxMs: 500 };
/** Recovery looks at so many at a time, the oldest first. */
const RECOVER_MAX = 3_000;

/** The store of one participant. */
export function participantStore(options: StoreOptions): ParticipantStore {
  const { name, namespace, hashTag, calls, preparedMax } = options;
  const keys = redisKeys('participant', namespace);
  const own = ['intents', 'prepared', 'locks', 'committed', 'aborted'].map((part) =>
    keys.key(hashTag, `:${name}:${part}`),
  );
  const prefix = keyPrefixOf(calls.client);
  const slotTag = hashTagOf(`${prefix}${own[0]}`);
  const fenceKeyOf = fenceKeys(calls.client, namespace);
  const evidence = [options.evidenceRetainMs, options.evidenceMax];
  const run = replies(options, own[0] ?? '');
  const endOnce = (
    verb: 'commit' | 'abort',
    branchId: string,
    { intents = [], signal }: Parameters<ParticipantStore['end']>[2],
  ): Promise<readonly string[]> => {
    const all = [...own, ...intents.map(({ key }) => key)];
    return run(verb === 'commit' ? COMMIT : ABORT, all, [branchId, ...evidence], signal);
  };
  return {
    assertSlot(key) {
      if (!calls.client.isCluster || hashTagOf(`${prefix}${key}`) === slotTag) return;
      const remedy = `a key with the hash tag {${slotTag}}: on a cluster all keys of participant "${name}" live in one slot`;
      throw invalidArgument('key', key, remedy);
    },
    fenceKey: (resource) => fenceKeyOf(resource)[0],
    async look(key, signal) {
      const [status, value] = await run(LOOK, [key], [], signal);
      if (status === 'type') throw conditionFailed(name, key, 'it is not a string');
      return status === 'none' ? undefined : value;
    },
    async prepare(branchId, intents, { phase, signal }) {
      const all = [...own, ...intents.map(({ key }) => key)];
      const values = [branchId, ...evidence, JSON.stringify(intents), phase, preparedMax];
      const [status, key = '', why = ''] = await run(PREPARE, all, values, signal);
      return { status, key, why } as PrepareReply;
    },
    async end(verb, branchId, how) {
      let reply = await endOnce(verb, branchId, how);
      if (reply[0] === 'keys') {
        const intents: readonly Intent[] = JSON.parse(reply[1] ?? '[]');
        reply = await endOnce(verb, branchId, { ...how, intents });
      }
      const [status = '', key = ''] = reply;
      if (status === 'corrupt') throw spoiltError(name, branchId, key);
      return status as 'committed' | 'aborted' | 'unknown';
    },
    async outcome(branchId, signal) {
      const [status] = await run(OUTCOME, own, [branchId], signal);
      return status as BranchOutcome;
    },
    async recover(signal) {
      const [, nowMs, ...rest] = await run(RECOVER, own, ['', RECOVER_MAX], signal);
      const ids = rest.filter((_, index) => index % 2 === 0);
      return ids.map((branchId, index) => {
        const ageMs = Math.max(0, Number(nowMs) - Number(rest[2 * index + 1]));
        return { branchId, ageMs };
      });
    },
  };
}

type Run = (
  script: RedisScript,
  keys: readonly string[],
  values: readonly (string | number)[],
  signal: AbortSignal | undefined,
) => Promise<readonly string[]>;

/** Runs scripts, each again while its reply is lost, until the signal or the time-out. */
function replies({ calls, clock, random }: StoreOptions, where: string): Run {
  const once = async (...[script, keys, values, signal]: Parameters<Run>) => {
    const reply = await calls.script(script, keys, values, { signal });
    const [status = '', ...rest] = (reply as readonly unknown[]).map(String);
    if (status === 'upgrade') throw formatError(where, rest[0] ?? '', PARTICIPANT_FORMAT);
    return [status, ...rest];
  };
  return async (script, keys, values, signal) => {
    throwIfAborted(signal);
    using scope = abortScope({ clock, parents: [signal], timeoutMs: STEP_TIMEOUT_MS });
    let lost: unknown;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await once(script, keys, values, scope.signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (scope.signal.aborted) throw unknown(script.name, 'its time was up', lost ?? error);
        // Once a reply was lost, a refusal says nothing of the first request.
        const isOver = !isCoordinationError(error, 'RESULT_UNKNOWN');
        if (isOver && (lost === undefined || !isCoordinationError(error, 'BACKEND_UNAVAILABLE'))) {
          throw lost === undefined ? error : unknown(script.name, 'its reply was lost', error);
        }
        lost ??= error;
        await sleep(clock, backoffMs(attempt, RETRY_BACKOFF, random), {
          signal: scope.signal,
        }).catch(() => {});
      }
    }
  };
}
