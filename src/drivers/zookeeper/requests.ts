import type { Client, ClientAcl, Wire, ZookeeperStat } from './client.js';
import type { Reply } from './codes.js';

/** A znode's data with its Stat. */
export interface NodeData {
  readonly data: Buffer;
  readonly stat: ZookeeperStat;
}

/** The names of a znode's children with its Stat, of one moment. */
export interface NodeChildren {
  readonly names: readonly string[];
  readonly stat: ZookeeperStat;
}

/**
 * What can be asked of a session. Requests are answered in the order in which they were sent, and
 * never reject: whoever asks must decide what an `unknown` answer means.
 */
export interface Requests {
  create(path: string, data: Buffer, flags: number): Promise<Reply<string>>;
  /** With `watch` the session hears of the node's next change, its creation too. */
  exists(path: string, watch?: boolean): Promise<Reply<ZookeeperStat>>;
  /** With `watch` the session hears of the node's next change; not if the node does not exist. */
  get(path: string, watch?: boolean): Promise<Reply<NodeData>>;
  children(path: string, watch?: boolean): Promise<Reply<NodeChildren>>;
  set(path: string, data: Buffer, version: number): Promise<Reply<ZookeeperStat>>;
  remove(path: string, version?: number): Promise<Reply<void>>;
  setAcl(path: string, acl: readonly ClientAcl[]): Promise<Reply<void>>;
  /** Brings the server that we read from up to everything that was committed before. */
  sync(path: string): Promise<Reply<void>>;
  /** The ensemble's configuration; empty data on a server that stands alone. */
  config(): Promise<Reply<NodeData>>;
}

/** Sends a request, with the completion that hears its code and its value. */
export type Send<T> = (wire: Wire, done: (rc: number, value?: T) => void, client: Client) => number;

/**
 * How a request travels. `'leader'`: its answer comes through the server that leads, which alone
 * knows whether a session lives; `'server'`: whoever we are connected to answers from its memory.
 */
export type Call = <T>(through: 'leader' | 'server', send: Send<T>) => Promise<Reply<T>>;

/** The version that matches any. */
export const ANY_VERSION = -1;

const NO_DATA: Buffer = Buffer.alloc(0);

/** Puts the client's calls, each with its own shape of completion, behind one way of calling. */
export function requestsOver(call: Call): Requests {
  return {
    create: (path, data, flags) =>
      call('leader', (to, done) =>
        to.a_create(path, data, flags, (rc, _, created) => done(rc, created)),
      ),
    exists: (path, watch = false) =>
      call('server', (to, done) =>
        to.a_exists(path, watch, (rc, _, stat) => done(rc, stat as ZookeeperStat)),
      ),
    get: (path, watch = false) =>
      call('server', (to, done) => to.a_get(path, watch, dataCompletion(done))),
    children: (path, watch = false) =>
      call('server', (to, done) =>
        to.a_get_children2(path, watch, (rc, _, names, stat) =>
          done(rc, { names, stat } as NodeChildren),
        ),
      ),
    set: (path, data, version) =>
      call('leader', (to, done) =>
        to.a_set(path, data, version, (rc, _, stat) => done(rc, stat as ZookeeperStat)),
      ),
    remove: (path, version = ANY_VERSION) =>
      call('leader', (to, done) => to.a_delete_(path, version, (rc) => done(rc))),
    setAcl: (path, acl) =>
      call('leader', (_, done, to) => to.a_set_acl(path, ANY_VERSION, acl, (rc) => done(rc))),
    sync: (path) => call('leader', (to, done) => to.a_sync(path, (rc) => done(rc))),
    config: () => call('server', (to, done) => to.a_getconfig(false, dataCompletion(done))),
  };
}

function dataCompletion(done: (rc: number, value?: NodeData) => void) {
  return (rc: number, _: string, stat: ZookeeperStat | null, data: Buffer | null): void =>
    done(rc, { data: data ?? NO_DATA, stat } as NodeData);
}
