import { backoffMs } from '../../../core/backoff.js';
import { keyPrefixOf, type RedisSubscriber } from '../client.js';
import type { RedisLockContext } from './context.js';

/** What a node is told without asking. Hints: each may be lost, late or repeated. */
export interface InboxEvents {
  /** A waiter's grant was written. */
  onGranted(grantId: string): void;
  /** Somebody waits for what is held under this id. */
  onWaiters(grantId: string, waiters: number): void;
  /** Messages may have been missed until now. */
  onListening(): void;
}

/** A node's own channel, on a connection of its own. */
export interface Inbox {
  /** Begins to listen, in the background. Idempotent; never fails. */
  open(): void;
  close(): void;
}

const MESSAGE = /^1 ([gw]) ([\w.-]+)(?: (\d+))?$/;
const REOPEN = { baseMs: 500, maxMs: 30_000 };

/**
 * Listens on a duplicate of the client, because a connection that subscribes can do little else.
 * Where that is not permitted or not possible, the heartbeats of the waiters still make progress;
 * so nothing here is an error.
 */
export function lockInbox({ node, calls, keys }: RedisLockContext, events: InboxEvents): Inbox {
  // The scripts derive the same name from the resource's key, which has the client's prefix.
  const channel = keyPrefixOf(calls.client) + keys.channel(`inbox:${node.incarnation}`);
  let subscriber: RedisSubscriber | undefined;
  let attempts = 0;
  let isClosed = false;
  let cancelReopen = (): void => {};

  const receive = (_channel: string, message: string): void => {
    // Messages of a newer format are hints too; ignoring one costs a heartbeat.
    const [, kind, grantId = '', waiters] = MESSAGE.exec(message) ?? [];
    if (kind === 'g') events.onGranted(grantId);
    if (kind === 'w') events.onWaiters(grantId, Number(waiters));
  };
  const listen = (connection: RedisSubscriber): void => {
    // The client's own re-subscription is an option that a user may have switched off.
    connection.subscribe(channel).then(
      () => {
        attempts = 0;
        if (!isClosed) events.onListening();
      },
      () => {},
    );
  };
  const reopen = (): void => {
    if (isClosed) return;
    subscriber = undefined;
    const delayMs = backoffMs(attempts, REOPEN, node.random);
    attempts += 1;
    cancelReopen = node.clock.schedule(delayMs, open, { keepAlive: false });
  };
  const open = (): void => {
    if (isClosed || subscriber !== undefined) return;
    const connection = calls.client.duplicate();
    subscriber = connection;
    // A client reports each failed attempt to connect; without a listener it prints them.
    connection.on('error', () => {});
    connection.on('message', receive);
    connection.on('ready', () => listen(connection));
    connection.on('end', reopen);
    if (connection.status === 'wait') connection.connect().catch(() => {});
  };
  return {
    open,
    close() {
      isClosed = true;
      cancelReopen();
      subscriber?.disconnect();
    },
  };
}
