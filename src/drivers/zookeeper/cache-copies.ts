import type { LiveSession } from './live-session.js';
import type { NodeData } from './requests.js';

/**
 * Copies of znodes in this process, each as long as its watch has not told of a change and the
 * session is connected. The server tells of a change before it answers this session with anything
 * newer, so a copy is never older than what was read before it.
 */
export interface NodeCopies {
  /** The copy of a path, if it is still good. */
  get(live: LiveSession, path: string): NodeData | undefined;
  /** Reads a node and leaves a watch, so that the copy is good until the node changes. */
  read(live: LiveSession, path: string): ReturnType<LiveSession['ask']['get']>;
  /** Forgets a copy: before an own write, and after it. */
  drop(path: string): void;
  /** Calls the listener whenever a node may have changed that was read; until it is called off. */
  onDrop(path: string, listener: () => void): () => void;
  close(): void;
}

interface Copy {
  readonly node: NodeData;
  readonly stop: () => void;
}

/** Copies of at most `copiesMax` znodes; the oldest goes first. */
export function nodeCopies(copiesMax: number): NodeCopies {
  const copies = new Map<string, Copy>();
  const listeners = new Map<string, Set<() => void>>();
  let session: LiveSession | undefined;
  let leaveSession = (): void => {};

  const drop = (path: string): void => {
    copies.get(path)?.stop();
    copies.delete(path);
    for (const listener of [...(listeners.get(path) ?? [])]) listener();
  };
  const dropAll = (): void => {
    for (const path of [...copies.keys(), ...listeners.keys()]) drop(path);
  };
  /** Watches belong to a connection: after another one, nobody knows what has changed. */
  const follow = (live: LiveSession): void => {
    if (session === live) return;
    leaveSession();
    session = live;
    const stopReconnect = live.onReconnect(dropAll);
    live.ended.addEventListener('abort', dropAll, { once: true });
    leaveSession = () => {
      stopReconnect();
      live.ended.removeEventListener('abort', dropAll);
    };
    dropAll();
  };
  const keep = (path: string, copy: Copy): void => {
    copies.get(path)?.stop();
    copies.set(path, copy);
    const [oldest] = copies.size > copiesMax ? copies.keys() : [];
    if (oldest !== undefined) drop(oldest);
  };

  return {
    get(live, path) {
      if (live !== session || !live.isConnected) return undefined;
      return copies.get(path)?.node;
    },
    async read(live, path) {
      follow(live);
      let isDirty = false;
      // Before the request is sent: an event may overtake the promise of its answer.
      const stopEvents = live.onChange(path, () => {
        isDirty = true;
        drop(path);
      });
      const stopReconnect = live.onReconnect(() => {
        isDirty = true;
      });
      const stop = (): void => {
        stopEvents();
        stopReconnect();
      };
      const reply = await live.ask.get(path, true);
      stopReconnect();
      const isGood = reply.ok && !isDirty && live === session && live.isConnected;
      if (isGood) keep(path, { node: reply.value, stop: stopEvents });
      else stop();
      return reply;
    },
    drop,
    onDrop(path, listener) {
      const group = listeners.get(path) ?? new Set();
      listeners.set(path, group.add(listener));
      return () => {
        group.delete(listener);
        if (group.size === 0 && listeners.get(path) === group) listeners.delete(path);
      };
    },
    close() {
      leaveSession();
      dropAll();
    },
  };
}
