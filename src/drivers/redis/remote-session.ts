import { abortScope, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { CancelTimer } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import { workGate } from '../../core/work-gate.js';
import type { LogCallOptions } from '../../transaction/decision-log.js';
import { callQueueFullError } from '../../transaction/remote/call-errors.js';
import { CALL_BYTES_MAX, QUEUED_MAX } from '../../transaction/remote/call-keys.js';
import type { CallRecord } from '../../transaction/remote/call-record.js';
import type { CallNode, CallSession } from '../../transaction/remote/call-session.js';
import { redisCalls } from './calls.js';
import type { RedisClient } from './client.js';
import { formatError, unknown } from './errors.js';
import { redisKeys } from './keys.js';
import { changedMessage, goneMessage, type RemoteHints, remoteHints } from './remote-hints.js';
import { decodeCall, encodeCall, encodeRest } from './remote-record.js';
import {
  ANNOUNCE,
  BURY,
  CALL_FORMAT,
  CREATE,
  LIST,
  READ,
  REMOVE,
  REPLACE,
  SERVERS,
  TAKE,
  WITHDRAW,
} from './remote-scripts.js';
import type { RedisScript } from './script.js';

/** Where calls are stored, and how long a reply is awaited. */
export interface RemoteSettings {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly replyTimeoutMs: number;
  /** A server of which nothing was heard for so long is gone. */
  readonly livenessTimeoutMs: number;
}

/** So often a server shows itself within the time after which it counts as gone. */
const BEATS = 3;
const STEP_TIMEOUT_MS = 10_000;
/** A larger record is not sent along with the hint about it: listeners' buffers are bounded. */
const TOLD_BYTES_MAX = 16_384;
const LIST_BYTES_MAX = 4 * 1_024 * 1_024;
const CLOSE_MS = 500;
const BACKOFF = { baseMs: 20, maxMs: 500 };

type Ask = (
  script: RedisScript,
  service: string,
  values: readonly (string | number)[],
  options: LogCallOptions | undefined,
) => Promise<readonly string[]>;

/**
 * Calls on Redis: one script a step, all keys of a service in one slot. Unlike a stream with a
 * consumer group, a queue and a record that change in one script need no second acknowledgement, and
 * leave nothing behind.
 */
export function redisCallSession(settings: RemoteSettings, node: CallNode): CallSession {
  const { client, prefix, replyTimeoutMs, livenessTimeoutMs } = settings;
  const { clock, random } = node;
  const calls = redisCalls({ client, clock, timeoutMs: replyTimeoutMs });
  const gate = workGate('the session of calls', clock);
  const address = random.token(11);
  const hints = remoteHints(client, prefix, node, address);
  const ask = askOf(settings, node, calls, gate);
  const presence = presenceOf(ask, node, address, livenessTimeoutMs);
  const writeId = (): string => random.token(11);
  const found = (service: string, callId: string, reply: readonly string[]) =>
    reply[0] === 'none' ? undefined : decodeCall(service, callId, reply[1] ?? '');
  const created = (service: string, callId: string, reply: readonly string[]): CallRecord =>
    decodeCall(service, callId, reply[1] ?? '');
  let stopListening = (): void => {};
  return {
    address,
    bytesMax: CALL_BYTES_MAX,
    async create({ service, callId, timeoutMs, ...facts }, options) {
      const rest = encodeRest(facts);
      const values = [callId, writeId(), timeoutMs, address, rest, QUEUED_MAX];
      const reply = await ask(CREATE, service, [...values, hints.queue(service)], options);
      if (reply[0] === 'full') throw callQueueFullError(service, QUEUED_MAX);
      return created(service, callId, reply);
    },
    async bury({ service, callId }, options) {
      const rest = encodeRest({ payload: '', outcome: 'aborted' });
      const values = [callId, writeId(), address, rest];
      return created(service, callId, await ask(BURY, service, values, options));
    },
    async read({ service, callId }, options) {
      return found(service, callId, await ask(READ, service, [callId], options));
    },
    async replace(record, replaces, options) {
      const { service, callId } = record;
      const told = toldOf(hints, record);
      const bytesMax = record.state === 'open' ? 0 : TOLD_BYTES_MAX;
      const values = [callId, replaces, encodeCall(record), ...told, bytesMax];
      return found(service, callId, await ask(REPLACE, service, values, options));
    },
    async remove({ service, callId, writeId: write, caller, server }, options) {
      const to = server === '' ? '' : hints.addressed(server);
      const channels = [hints.addressed(caller), to];
      await ask(REMOVE, service, [callId, write, ...channels, goneMessage(callId)], options);
    },
    async take(service, options) {
      while (true) {
        const reply = await ask(TAKE, service, [writeId(), address], options);
        const [status, callId = '', stored = '', nowMs, behind] = reply;
        if (status === 'none') return undefined;
        if (status === 'more') continue;
        const record = decodeCall(service, callId, stored);
        const remainingMs = record.deadlineMs - Number(nowMs);
        return { record, remainingMs, isLast: behind === '0' };
      }
    },
    async list(service, limit, options) {
      const [, ...rest] = await ask(LIST, service, [limit, LIST_BYTES_MAX], options);
      const ids = rest.filter((_, index) => index % 2 === 0);
      return ids.map((callId, index) => decodeCall(service, callId, rest[2 * index + 1] ?? ''));
    },
    async nowMs(options) {
      const [, nowMs] = await ask(SERVERS, '-', [livenessTimeoutMs], options);
      return Number(nowMs);
    },
    announce: presence.announce,
    withdraw: presence.withdraw,
    async servers(service, options) {
      const [, , ...addresses] = await ask(SERVERS, service, [livenessTimeoutMs], options);
      return addresses;
    },
    listen(services, heard) {
      stopListening();
      stopListening = hints.listen(services, heard);
      return () => stopListening();
    },
    async close() {
      stopListening();
      await presence.close();
      await gate.close(CLOSE_MS);
      calls.dispose();
    },
  };
}

/** Whom a new version concerns: a channel and a message. */
function toldOf(hints: RemoteHints, record: CallRecord): readonly [string, string] {
  const { state, caller, server, service, callId } = record;
  if (state === 'open') return [hints.queue(service), 'q'];
  const message = changedMessage(service, callId);
  if (state === 'voted') return [hints.addressed(caller), message];
  const isToServer = state === 'ended' && server !== '';
  return isToServer ? [hints.addressed(server), message] : ['', ''];
}

/** One step about a service: sent again while its reply is lost, within a bound. */
function askOf(
  { prefix }: RemoteSettings,
  { namespace, clock, random }: CallNode,
  calls: ReturnType<typeof redisCalls>,
  gate: ReturnType<typeof workGate>,
): Ask {
  const keys = redisKeys('call', prefix);
  return (script, service, values, options) =>
    gate.run(async () => {
      throwIfAborted(options?.signal);
      const tag = `${namespace}:${service}`;
      const names = [':calls', ':queue', ':servers'].map((suffix) => keys.key(tag, suffix));
      using scope = abortScope({ clock, parents: [options?.signal], timeoutMs: STEP_TIMEOUT_MS });
      for (let attempt = 0; ; attempt += 1) {
        try {
          const reply = await calls.script(script, names, values, { signal: scope.signal });
          const texts = (reply as readonly unknown[]).map(String);
          if (texts[0] === 'upgrade') {
            throw formatError(`${names[0]}`, `${texts[1]} `, CALL_FORMAT);
          }
          return texts;
        } catch (error) {
          if (options?.signal?.aborted) throw options.signal.reason;
          if (scope.signal.aborted) throw unknown(script.name, 'its time was up', error);
          if (!isCoordinationError(error, 'RESULT_UNKNOWN')) throw error;
        }
        // When the time ends here, the next attempt says so.
        const delayMs = backoffMs(attempt, BACKOFF, random);
        await sleep(clock, delayMs, { signal: scope.signal }).catch(() => {});
      }
    });
}

interface Presence {
  announce(service: string, options?: LogCallOptions): Promise<void>;
  withdraw(service: string, options?: LogCallOptions): Promise<void>;
  close(): Promise<void>;
}

/** Shows which services this session serves, with a heartbeat. */
function presenceOf(
  ask: Ask,
  { clock }: CallNode,
  address: string,
  livenessTimeoutMs: number,
): Presence {
  const beats = new Map<string, CancelTimer>();
  const show = async (service: string, options?: LogCallOptions): Promise<void> => {
    await ask(ANNOUNCE, service, [address, livenessTimeoutMs], options);
  };
  const plan = (service: string): void => {
    beats.get(service)?.();
    const beat = (): void => {
      show(service).then(
        () => beats.has(service) && plan(service),
        () => beats.has(service) && plan(service),
      );
    };
    beats.set(service, clock.schedule(livenessTimeoutMs / BEATS, beat, { keepAlive: false }));
  };
  const withdraw = async (service: string, options?: LogCallOptions): Promise<void> => {
    beats.get(service)?.();
    beats.delete(service);
    await ask(WITHDRAW, service, [address], options);
  };
  return {
    async announce(service, options) {
      await show(service, options);
      plan(service);
    },
    withdraw,
    async close() {
      const services = [...beats.keys()];
      const left = Promise.allSettled(services.map((service) => withdraw(service)));
      await Promise.race([
        left,
        new Promise((resolve) => clock.schedule(CLOSE_MS, () => resolve(0))),
      ]);
    },
  };
}
