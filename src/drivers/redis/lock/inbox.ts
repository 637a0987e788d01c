import { backoffMs } from '../../../core/backoff.js';
import { keyPrefixOf, type RedisSubscriber } from '../client.js';
import type { RedisLockContext } from './context.js';
import type { PushedEnd } from './deadline.js';

/** What a node is told without asking. Hints: each may be lost, late or repeated. */
export interface InboxEvents {
  /** A waiter's grant was written. */
  onGranted(grantId: string, pushed: PushedGrant): void;
  /** Somebody waits for what is held under this id. */
  onWaiters(grantId: string, waiters: number): void;
  /** Somebody ended what was held under this id. */
  onForced(grantId: string, why: string): void;
  /** A watched resource, by the tag of its key, may have changed hands. */
  onChanged(tag: string): void;
  /** Messages may have been missed until now. */
  onListening(): void;
}

/** A node's own channel, on a connection of its own. */
export interface Inbox {
  /** Begins to listen, in the background. Idempotent; never fails. */
  open(): void;
  /** Hears of one more watched resource, or not any more. */
  watch(tag: string): void;
  unwatch(tag: string): void;
  close(): void;
}

/** A waiter's grant, as the message tells it. */
export interface PushedGrant extends PushedEnd {
  readonly fence: bigint;
  readonly waiters: number;
}

const GRANT = /^1 g ([\w.-]+) (\d+) (\d+) (\d+) (\d+)$/;
const WAITERS = /^1 w ([\w.-]+) (\d+)$/;
const FORCED = /^1 f ([\w.-]+) (.*)$/s;
const REOPEN = { baseMs: 500, maxMs: 30_000 };

/**
 * Listens on a duplicate of the client, because a connection that subscribes can do little else.
 * Where that is not permitted or not possible, the heartbeats of the waiters still make progress;
 * so nothing here is an error.
 */
export function lockInbox({ node, calls, keys }: RedisLockContext, events: InboxEvents): Inbox {
  // The scripts derive the same name from the resource's key, which has the client's prefix.
  const prefix = keyPrefixOf(calls.client);
  const channel = prefix + keys.channel(`inbox:${node.incarnation}`);
  const watched = prefix + keys.channel('watch:');
  const tags = new Set<string>();
  let subscriber: RedisSubscriber | undefined;
  let attempts = 0;
  let isClosed = false;
  let cancelReopen = (): void => {};

  const receive = (from: string, message: string): void => {
    if (from !== channel) {
      if (from.startsWith(watched)) events.onChanged(from.slice(watched.length));
      return;
    }
    // Messages of a newer format are hints too; ignoring one costs a heartbeat.
    const [, grantId, fence = '', endsUs, ttlMs, waiters] = GRANT.exec(message) ?? [];
    if (grantId !== undefined) {
      const end = { endsUs: Number(endsUs), ttlMs: Number(ttlMs) };
      events.onGranted(grantId, { ...end, fence: BigInt(fence), waiters: Number(waiters) });
      return;
    }
    const [, held, count] = WAITERS.exec(message) ?? [];
    if (held !== undefined) events.onWaiters(held, Number(count));
    const [, ended, why = ''] = FORCED.exec(message) ?? [];
    if (ended !== undefined) events.onForced(ended, why);
  };
  const listen = (connection: RedisSubscriber): void => {
    // The client's own re-subscription is an option that a user may have switched off.
    connection.subscribe(channel, ...[...tags].map((tag) => watched + tag)).then(
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
    watch(tag) {
      tags.add(tag);
      // One that is not connected yet subscribes to all of them once it is.
      if (subscriber?.status === 'ready') subscriber.subscribe(watched + tag).catch(() => {});
    },
    unwatch(tag) {
      tags.delete(tag);
      if (subscriber?.status === 'ready') subscriber.unsubscribe(watched + tag).catch(() => {});
    },
    close() {
      isClosed = true;
      cancelReopen();
      subscriber?.disconnect();
    },
  };
}
