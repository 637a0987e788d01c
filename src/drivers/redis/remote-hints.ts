import { backoffMs } from '../../core/backoff.js';
import type { CallHint, CallNode } from '../../transaction/remote/call-session.js';
import { keyPrefixOf, type RedisClient, type RedisSubscriber } from './client.js';
import { redisKeys } from './keys.js';
import { decodeCall } from './remote-record.js';

/** The channels of calls, and who listens to them. */
export interface RemoteHints {
  /** The channel of a session. */
  addressed(address: string): string;
  /** The channel of a service. */
  queue(service: string): string;
  /** Begins to listen, in the background; never fails. */
  listen(services: readonly string[], heard: (hint: CallHint) => void): () => void;
}

/** Tells that a call was changed; its new value may stand behind a line break. */
export function changedMessage(service: string, callId: string): string {
  return `c ${service} ${callId}`;
}

/** Tells that a call is gone. */
export function goneMessage(callId: string): string {
  return `g ${callId}`;
}

function hintIn(message: string): CallHint | undefined {
  const [, gone, service = '', changed, value] = MESSAGE.exec(message) ?? [];
  if (gone !== undefined) return { type: 'changed', callId: gone, now: { record: undefined } };
  if (changed === undefined) return undefined;
  return { type: 'changed', callId: changed, now: standingIn(service, changed, value) };
}

/** Undefined where it has to be read: too large to come along, or of another release. */
function standingIn(service: string, callId: string, value: string | undefined) {
  try {
    return value === undefined ? undefined : { record: decodeCall(service, callId, value) };
  } catch {
    return undefined;
  }
}

const MESSAGE = /^(?:g (\S+)|c (\S+) (\S+)(?:\n(.*))?)$/s;
const REOPEN = { baseMs: 100, maxMs: 10_000 };

/**
 * Hints over pub/sub, on one connection of our own: a session's channel, and one of each service that
 * it serves. Where that is not permitted or not possible, polls and sweeps make progress.
 */
export function remoteHints(
  client: RedisClient,
  prefix: string,
  { namespace, clock, random }: CallNode,
  address: string,
): RemoteHints {
  const keys = redisKeys('call', prefix);
  const channel = (name: string): string => keyPrefixOf(client) + keys.channel(name);
  const addressed = (to: string): string => channel(`${namespace}:to:${to}`);
  const queue = (service: string): string => channel(`${namespace}:queue:${service}`);
  return {
    addressed,
    queue,
    listen(services, heard) {
      const queues = new Map(services.map((service) => [queue(service), service]));
      const own = addressed(address);
      let subscriber: RedisSubscriber | undefined;
      let attempts = 0;
      let isClosed = false;
      let cancel = (): void => {};
      const receive = (from: string, message: string): void => {
        const service = queues.get(from);
        if (service !== undefined) heard({ type: 'queued', service });
        const hint = from === own ? hintIn(message) : undefined;
        if (hint !== undefined) heard(hint);
      };
      const subscribe = (connection: RedisSubscriber): void => {
        connection.subscribe(own, ...queues.keys()).then(
          () => {
            attempts = 0;
            if (!isClosed) heard({ type: 'missed' });
          },
          () => {},
        );
      };
      const reopen = (): void => {
        if (isClosed) return;
        subscriber = undefined;
        const delayMs = backoffMs(attempts, REOPEN, random);
        attempts += 1;
        cancel = clock.schedule(delayMs, open, { keepAlive: false });
      };
      const open = (): void => {
        if (isClosed) return;
        const connection = client.duplicate();
        subscriber = connection;
        // Without a listener ioredis writes errors to the console.
        connection.on('error', () => {});
        connection.on('message', receive);
        // At each connection anew: a client may be set not to subscribe again.
        connection.on('ready', () => subscribe(connection));
        connection.on('end', reopen);
        if (connection.status === 'wait') connection.connect().catch(() => {});
      };
      open();
      return () => {
        isClosed = true;
        cancel();
        subscriber?.disconnect();
      };
    },
  };
}
