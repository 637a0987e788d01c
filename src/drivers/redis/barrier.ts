import { sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import { systemRandom } from '../../core/random.js';
import { assertNumber, assertOptions, invalidArgument } from '../../core/validate.js';
import type { Barrier, BarrierPassage, BarrierStep } from '../../transaction/barrier.js';
import { type BarrierState, barrierMove } from '../../transaction/barrier-machine.js';
import { type BarrierWrite, barrierWrites, type RedisBarrierClient } from './barrier-client.js';
import { BARRIER_FORMAT, LOOK, PREPARED, STEP } from './barrier-scripts.js';
import { REPLY_TIMEOUT_MS_DEFAULT, type RedisCalls, redisCalls } from './calls.js';
import { assertClient, keyPrefixOf, type RedisClient } from './client.js';
import { formatError, unknown } from './errors.js';
import { readRedisGuarantees } from './guarantees.js';
import { hashTagOf, redisKeys } from './keys.js';
import { conditionFailed } from './participant-errors.js';
import type { RedisScript } from './script.js';

/** Options of {@link redisBarrier}. */
export interface RedisBarrierOptions {
  /** The service's own ioredis client (`Redis` or `Cluster`, 5 or 6). It is never closed. */
  readonly client: RedisClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * On a cluster every key of the functions has this hash tag: 1 to 128 of `[A-Za-z0-9_.:@-]`. Default
   * the participant's name.
   */
  readonly hashTag?: string | undefined;
  /** Marks of branches that ended are kept for so many milliseconds. Default 7 days. */
  readonly retainMs?: number | undefined;
  /** How long one reply is awaited, in milliseconds. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
}

const RETAIN_MS = 7 * 24 * 3_600_000;
const PREPARED_MAX = 3_000;
const HASH_TAG = /^[\w.:@-]{1,128}$/;
const RETRY_BACKOFF = { baseMs: 20, maxMs: 500 };

/**
 * A barrier in Redis: a function collects its writes, and one script checks them, performs them and
 * notes that they were performed. What a yes survives is what the Redis survives: see
 * {@link redisParticipant}, whose `reserve` is the shorter way where stock is all that there is.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed client, namespace or number.
 */
export function redisBarrier(options: RedisBarrierOptions): Barrier<RedisBarrierClient> {
  assertOptions(options, '{ client }');
  const { client, namespace, hashTag, retainMs = RETAIN_MS, clock = systemClock } = options;
  const { replyTimeoutMs: timeoutMs = REPLY_TIMEOUT_MS_DEFAULT } = options;
  assertClient(client);
  if (hashTag !== undefined && !HASH_TAG.test(hashTag)) {
    throw invalidArgument('hashTag', hashTag, '1 to 128 characters of [A-Za-z0-9_.:@-]');
  }
  assertNumber('retainMs', retainMs, { min: 0, integer: true });
  assertNumber('replyTimeoutMs', timeoutMs, { min: 1 });
  const area = redisKeys('barrier', namespace);
  const calls = redisCalls({ client, clock, timeoutMs });
  const keysOf = (participant: string): readonly string[] =>
    ['states', 'payloads', 'prepared', 'ended'].map((part) =>
      area.key(hashTag ?? participant, `:${participant}:${part}`),
    );
  const ask = asker(calls, clock);
  const slots = slotGuard(client);
  const find = async (step: Found, signal: AbortSignal | undefined) => {
    const reply = await ask(LOOK, keysOf(step.participant), [step.branchId], signal);
    const [, state = '', payload = ''] = reply;
    return { state: state === '' ? undefined : (state as BarrierState), payload };
  };
  /** Undefined when somebody else moved the branch meanwhile. */
  const tryStep = async (
    step: BarrierStep<RedisBarrierClient>,
  ): Promise<BarrierPassage | undefined> => {
    const { participant, branchId, event, signal } = step;
    const found = await find(step, signal);
    const { to, effects, answer } = barrierMove(found.state, event);
    if (to === undefined || to === found.state) return { answer, state: to };
    const keys = keysOf(participant);
    const payload = found.state === undefined ? step.payload : found.payload;
    const { client: collector, writes } = barrierWrites(slots(`${keys[0]}`));
    for (const effect of effects) await step.perform(effect, collector, payload);
    const values = [branchId, found.state ?? '', to, payload, JSON.stringify(writes), retainMs];
    const all = [...keys, ...writes.map(({ key }: BarrierWrite) => key)];
    const [status, key = '', why = ''] = await ask(STEP, all, values, signal);
    if (status === 'no') throw conditionFailed(participant, key, why);
    return status === 'ok' ? { answer, state: to } : undefined;
  };
  const passAlone = async (step: BarrierStep<RedisBarrierClient>): Promise<BarrierPassage> => {
    for (let attempt = 0; ; attempt += 1) {
      const passage = await tryStep(step);
      if (passage !== undefined) return passage;
      const delayMs = backoffMs(attempt, RETRY_BACKOFF, systemRandom);
      await sleep(clock, delayMs, { signal: step.signal });
    }
  };
  return {
    backend: 'redis',
    async pass(step) {
      if (step.event !== 'commit-one-phase') return passAlone(step);
      // Two steps, because a step does one kind of thing to a key. What a crash leaves between them is
      // prepared, and nobody was told more.
      const prepared = await passAlone({ ...step, event: 'prepare' });
      const isOver = prepared.answer !== 'done' && prepared.state !== 'committed';
      return isOver ? prepared : passAlone({ ...step, event: 'commit' });
    },
    async prepared(participant, call) {
      const keys = keysOf(participant);
      const [, nowMs, ...rest] = await ask(PREPARED, keys, ['', PREPARED_MAX], call?.signal);
      const ids = rest.filter((_, index) => index % 2 === 0);
      return ids.map((branchId, index) => {
        const ageMs = Math.max(0, Number(nowMs) - Number(rest[2 * index + 1]));
        return { branchId, ageMs };
      });
    },
    state: async (participant, branchId, call) =>
      (await find({ participant, branchId }, call?.signal)).state,
    guarantees: (participant, call) => {
      const about = { subject: `redis ${participant}`, user: `participant "${participant}"` };
      return readRedisGuarantees(calls, { ...about, kept: 'prepared branches' }, call);
    },
    async close() {
      calls.dispose();
    },
  };
}

type Found = Pick<BarrierStep<RedisBarrierClient>, 'participant' | 'branchId'>;
type Ask = (
  script: RedisScript,
  keys: readonly string[],
  values: readonly (string | number)[],
  signal: AbortSignal | undefined,
) => Promise<readonly string[]>;

/** Runs a script, again while its reply is lost: a step that was done answers that it is changed. */
function asker(calls: RedisCalls, clock: Clock): Ask {
  return async (script, keys, values, signal) => {
    throwIfAborted(signal);
    let lost: unknown;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const reply = await calls.script(script, keys, values, { signal });
        const [status = '', ...rest] = (reply as readonly unknown[]).map(String);
        if (status === 'upgrade') {
          throw formatError(keys[0] ?? '', rest[0] ?? '', BARRIER_FORMAT);
        }
        return [status, ...rest];
      } catch (error) {
        const isLost = isCoordinationError(error, 'RESULT_UNKNOWN');
        // Once a reply was lost, a refusal says nothing of the first request.
        if (signal?.aborted || (!isLost && lost !== undefined)) {
          throw unknown(script.name, 'its reply was lost', lost ?? error);
        }
        if (!isLost) throw error;
        lost = error;
        await sleep(clock, backoffMs(attempt, RETRY_BACKOFF, systemRandom), { signal }).catch(
          () => {},
        );
      }
    }
  };
}

/** Refuses keys of other slots of a cluster than the barrier's own. */
function slotGuard(client: RedisClient): (ownKey: string) => (key: string) => void {
  const prefix = keyPrefixOf(client);
  return (ownKey) => (key) => {
    const tag = hashTagOf(`${prefix}${ownKey}`);
    if (!client.isCluster || hashTagOf(`${prefix}${key}`) === tag) return;
    throw invalidArgument('key', key, `a key with the hash tag {${tag}}: one slot of a cluster`);
  };
}
