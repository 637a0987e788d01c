import { setMaxListeners } from 'node:events';
import { sleep } from '../../core/abort.js';
import type { CancelTimer } from '../../core/clock.js';
import type { SiteNode } from '../../transaction/three-phase/site-storage.js';
import type { SiteLine, SiteTransport } from '../../transaction/three-phase/site-transport.js';
import { errorOf } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { encodeName } from './names.js';
import { connectionOf, type ZookeeperSession } from './session.js';

/** Options of {@link zookeeperTransport}. */
export interface ZookeeperTransportOptions {
  /** The session, as {@link zookeeper} made it. It is never closed. */
  readonly session: ZookeeperSession;
}

/** So many messages of one site are read side by side. */
const READS_MAX = 32;
/** Beyond so many unread messages of one site nothing is sent to it: it has been away for long. */
const UNREAD_MAX = 2_000;
/** How often a site's messages are looked at without a watch. */
const POLL_MS = 2_000;
const RETRY_MS = 200;
const SEND_MS = 5_000;
/** A sender looks at how many are unread now and then only. */
const LOOK_EVERY = 50;

/**
 * Messages between sites as znodes: a site watches the children of its own node, reads them and removes
 * them. Each message costs three writes of the ensemble with its removal, so use `httpTransport` where
 * many transactions run at once; and where a majority is to go on without the ensemble that has the
 * transaction store.
 *
 * @throws TypeError (INVALID_ARGUMENT) for anything but a session.
 */
export function zookeeperTransport(options: ZookeeperTransportOptions): SiteTransport {
  const connection = connectionOf(options?.session);
  return {
    backend: 'zookeeper',
    open: (node, receive) => zookeeperLine(connection, node, receive),
  };
}

function zookeeperLine(
  connection: Connection,
  node: SiteNode,
  receive: (text: string) => void,
): SiteLine {
  const base = `${connection.root}/sites/${encodeName(node.namespace)}`;
  const inboxOf = (site: string): string => `${base}/${encodeName(site)}`;
  const closing = new AbortController();
  // Each message under way listens: their number is load, not a leak worth a warning.
  setMaxListeners(0, closing.signal);
  let sentCount = 0;
  void listen(connection, inboxOf(node.site), receive, closing.signal).catch(() => {});

  const assertRoom = async (live: LiveSession, inbox: string): Promise<void> => {
    sentCount += 1;
    if (sentCount % LOOK_EVERY !== 0) return;
    const children = await live.ask.children(inbox);
    if (!children.ok || children.value.names.length < UNREAD_MAX) return;
    throw new Error(`${inbox} has ${children.value.names.length} messages that nobody has read`);
  };
  /** Sorts by the time of sending, more or less, and is nobody else's. */
  const newName = (): string => `${node.clock.wallMs().toFixed(0)}-${node.random.token(12)}`;
  return {
    async send(to, text) {
      const inbox = inboxOf(to);
      const live = await connection.current('send', { signal: closing.signal, waitMs: SEND_MS });
      await assertRoom(live, inbox);
      const path = `${inbox}/${newName()}`;
      const data = Buffer.from(text);
      let reply = await connection.createPersistent(live, path, data);
      if (!reply.ok && reply.kind === 'no-node') {
        await connection.ensure(live, inbox);
        reply = await connection.createPersistent(live, path, data);
      }
      if (!reply.ok) throw errorOf(reply, `send to ${to}`);
    },
    async close() {
      closing.abort(new Error('the site was closed'));
    },
  };
}

/** Reads what arrives, in the order of its arrival, until the signal; survives sessions. */
async function listen(
  connection: Connection,
  inbox: string,
  receive: (text: string) => void,
  closed: AbortSignal,
): Promise<void> {
  const { clock } = connection;
  while (!closed.aborted) {
    const waitMs = Number.POSITIVE_INFINITY;
    const live = await connection.current('listen', { signal: closed, waitMs });
    try {
      await connection.ensure(live, inbox);
      await readAll(live, inbox, receive, closed, clock);
    } catch {
      await sleep(clock, RETRY_MS, { signal: closed, keepAlive: false });
    }
  }
}

async function readAll(
  live: LiveSession,
  inbox: string,
  receive: (text: string) => void,
  closed: AbortSignal,
  clock: Connection['clock'],
): Promise<void> {
  let wake = (): void => {};
  let isChanged = false;
  const changed = (): void => {
    isChanged = true;
    wake();
  };
  const stops = [live.onChange(inbox, changed), live.onReconnect(changed)];
  live.ended.addEventListener('abort', changed, { once: true });
  closed.addEventListener('abort', changed, { once: true });
  try {
    while (!closed.aborted && !live.ended.aborted) {
      isChanged = false;
      const children = await live.ask.children(inbox, true);
      if (!children.ok) throw errorOf(children, 'listen');
      const names = children.value.names.toSorted();
      for (let from = 0; from < names.length; from += READS_MAX) {
        const page = names.slice(from, from + READS_MAX);
        const read = await Promise.all(page.map((name) => taken(live, `${inbox}/${name}`)));
        for (const text of read) if (text !== undefined && !closed.aborted) receive(text);
      }
      if (isChanged) continue;
      let cancel: CancelTimer = () => {};
      await new Promise<void>((resolve) => {
        wake = resolve;
        cancel = clock.schedule(POLL_MS, resolve, { keepAlive: false });
      });
      cancel();
    }
  } finally {
    live.ended.removeEventListener('abort', changed);
    closed.removeEventListener('abort', changed);
    for (const stop of stops) stop();
  }
}

/** Reads and removes one message; a removal that fails makes it come again, which does no harm. */
async function taken(live: LiveSession, path: string): Promise<string | undefined> {
  const reading = live.ask.get(path);
  const removing = live.ask.remove(path);
  const [read] = await Promise.all([reading, removing]);
  return read.ok ? read.value.data.toString() : undefined;
}
