import { abortable, sleep } from '../../core/abort.js';
import { CREATE } from './client.js';
import type { LiveSession } from './live-session.js';
import type { LogOwner } from './log-owner.js';
import { LIVE, type LogStore } from './log-store.js';

const NO_DATA: Buffer = Buffer.alloc(0);
const RETRY_MS = 200;

/** What a try to be live came to. */
type Liveness = 'standing' | 'again';

/**
 * Keeps the ephemeral child of an incarnation's head, by which others see it live, until it is fenced
 * or the signal is aborted: after an expiry it is created anew in the next session. Resolves when it
 * stands for the first time. A recoverer removes it after its fence, which tells the owner at once.
 */
export async function keepLive(
  store: LogStore,
  incarnation: string,
  owner: LogOwner,
  closed: AbortSignal,
): Promise<void> {
  const path = `${store.pathOf(incarnation)}/${LIVE}`;
  const live = await store.connection.current('register an incarnation', { signal: closed });
  await stand(live, path);
  void keep(store, path, owner, closed).catch(() => {});
}

async function keep(
  store: LogStore,
  path: string,
  owner: LogOwner,
  closed: AbortSignal,
): Promise<void> {
  while (!closed.aborted && !owner.fenced.aborted) {
    const waitMs = Number.POSITIVE_INFINITY;
    const live = await store.connection.current('stay live', { signal: closed, waitMs });
    if ((await stand(live, path)) === 'standing') await untilGone(live, path, closed);
    else await sleep(store.connection.clock, RETRY_MS, { signal: closed, keepAlive: false });
    // Whatever removed it may have been a recoverer.
    if (!closed.aborted) await owner.look();
  }
}

async function stand(live: LiveSession, path: string): Promise<Liveness> {
  const created = await live.ask.create(path, NO_DATA, CREATE.ephemeral);
  if (created.ok) return 'standing';
  if (created.kind !== 'exists') return 'again';
  const stat = await live.ask.exists(path);
  if (stat.ok && stat.value.ephemeralOwner === live.id) return 'standing';
  // Left by our own session before this one; nobody else uses the name of an incarnation.
  if (stat.ok) await live.ask.remove(path);
  return 'again';
}

/** Resolves when the node, its session or the connection has gone. */
async function untilGone(live: LiveSession, path: string, closed: AbortSignal): Promise<void> {
  let wake = (): void => {};
  const gone = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const stops = [live.onChange(path, wake), live.onReconnect(wake)];
  live.ended.addEventListener('abort', wake, { once: true });
  void live.ask.get(path, true).then((reply) => reply.ok || wake());
  try {
    await abortable(gone, closed);
  } finally {
    live.ended.removeEventListener('abort', wake);
    for (const stop of stops) stop();
  }
}
