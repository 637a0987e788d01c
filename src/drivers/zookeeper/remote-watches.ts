import type { CallHint } from '../../transaction/remote/call-session.js';
import type { LiveSession } from './live-session.js';

/** What one session of calls hears. */
export interface RemoteWatches {
  /** Hears from now on of changes of a call's znode, as long as somebody leaves watches there. */
  follow(live: LiveSession, path: string, callId: string): void;
  forget(path: string): void;
  /** Whether a read of this path should leave a watch. */
  isFollowed(path: string): boolean;
  /** Hears of new children of the parent of a service's calls. */
  followService(live: LiveSession, parent: string, service: string): void;
  listen(heard: (hint: CallHint) => void): () => void;
  close(): void;
}

/** The event of a deletion says what stands there since. */
function told(hint: CallHint, event: string): CallHint {
  const isGone = hint.type === 'changed' && event === 'deleted';
  return isGone ? { ...hint, now: { record: undefined } } : hint;
}

/** Listeners of one session at a time; after another one, everything may have changed. */
export function remoteWatches(): RemoteWatches {
  const stops = new Map<string, () => void>();
  const followed = new Map<string, string>();
  let heard: (hint: CallHint) => void = () => {};
  let session: LiveSession | undefined;
  let leave = (): void => {};

  const missed = (): void => heard({ type: 'missed' });
  const within = (live: LiveSession): void => {
    if (session === live) return;
    leave();
    for (const stop of stops.values()) stop();
    stops.clear();
    const isAnother = session !== undefined;
    session = live;
    const stopReconnect = live.onReconnect(missed);
    live.ended.addEventListener('abort', missed, { once: true });
    leave = () => {
      stopReconnect();
      live.ended.removeEventListener('abort', missed);
    };
    if (isAnother) missed();
  };
  const hear = (
    live: LiveSession,
    path: string,
    hint: CallHint,
    events: readonly string[],
  ): void => {
    within(live);
    if (stops.has(path)) return;
    stops.set(
      path,
      live.onChange(path, (event) => events.includes(event) && heard(told(hint, event))),
    );
  };
  return {
    follow(live, path, callId) {
      followed.set(path, callId);
      hear(live, path, { type: 'changed', callId }, ['changed', 'deleted']);
    },
    forget(path) {
      followed.delete(path);
      stops.get(path)?.();
      stops.delete(path);
    },
    isFollowed: (path) => followed.has(path),
    followService(live, parent, service) {
      hear(live, parent, { type: 'queued', service }, ['child', 'created']);
    },
    listen(listener) {
      heard = listener;
      return () => {
        heard = () => {};
      };
    },
    close() {
      leave();
      for (const stop of stops.values()) stop();
      heard = () => {};
    },
  };
}
