import { backoffMs } from '../../../core/backoff.js';
import { keyPrefixOf, type RedisSubscriber } from '../client.js';
import type { QuorumContext, QuorumNode } from './context.js';

/** What the nodes tell without being asked. Hints: each may be lost, late or repeated. */
export interface InboxEvents {
  /** A node's vote is free, and this request is first in line there. */
  onTurn(grantId: string, from: QuorumNode): void;
  /** Somebody waits for what is held under this id. */
  onWaiters(grantId: string, waiters: number): void;
  /** Somebody ended this grant by force. */
  onForced(grantId: string, reason: string): void;
  /** Messages of a node may have been missed until now. */
  onListening(): void;
}

/** This process's channel, on one connection a node. */
export interface Inbox {
  /** Begins to listen, in the background. Idempotent; never fails. */
  open(): void;
  close(): void;
}

const MESSAGE = /^1 ([twf]) ([\w.-]+)(?: (.*))?$/s;
const REOPEN = { baseMs: 500, maxMs: 30_000 };

/** The channels on all nodes. What cannot listen makes do with the waiters' polls. */
export function quorumInbox(context: QuorumContext, events: InboxEvents): Inbox {
  const boxes = context.nodes.map((node) => nodeInbox(context, node, events));
  let isOpen = false;
  return {
    open() {
      if (isOpen) return;
      isOpen = true;
      for (const box of boxes) box.open();
    },
    close() {
      for (const box of boxes) box.close();
    },
  };
}

function nodeInbox({ node, keys }: QuorumContext, from: QuorumNode, events: InboxEvents): Inbox {
  const { client } = from.calls;
  // The scripts derive the same name from the resource's key, which has the client's prefix.
  const channel = keyPrefixOf(client) + keys.channel(`inbox:${node.incarnation}`);
  let subscriber: RedisSubscriber | undefined;
  let attempts = 0;
  let isClosed = false;
  let cancelReopen = (): void => {};

  const receive = (_channel: string, message: string): void => {
    const [, kind, grantId = '', rest = ''] = MESSAGE.exec(message) ?? [];
    if (kind === 't') events.onTurn(grantId, from);
    if (kind === 'w') events.onWaiters(grantId, Number(rest));
    if (kind === 'f') events.onForced(grantId, rest);
  };
  const listen = (connection: RedisSubscriber): void => {
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
    const connection = client.duplicate();
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
