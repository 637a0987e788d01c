import type { CuttingProxy } from './proxy.js';

/** The servers that tests can ask for. The summary of `npm test` uses the same words. */
export type ServerKind = 'redis' | 'zookeeper' | 'postgresql' | 'memcached' | 'mariadb';

/** Where a server came from: an address in the environment, Docker, or a program on the machine. */
export type ServerSource = 'environment' | 'docker' | 'binaries';

/** Where a server listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A server that a suite may use but must not harm: other suites use it at the same time. */
export interface SharedServer extends Endpoint {
  readonly kind: ServerKind;
  /** `host:port`; for ZooKeeper from the environment the whole connection string. */
  readonly address: string;
  /** What a client takes: `redis://…`, `postgresql://…`; for ZooKeeper and Memcached the address. */
  readonly url: string;
  /** As the server itself tells it, e.g. `7.0.15`. */
  readonly version: string;
  readonly source: ServerSource;
  /** A new cutting proxy in front of the server; the caller closes it. */
  proxy(): Promise<CuttingProxy>;
}

/**
 * A server of one's own, which may be harmed in every way.
 *
 * All verbs resolve when their effect is there: after `pause()` the server answers nothing, after
 * `kill()` its port is free, after `restart()` it answers again at the same address with the data
 * that its disk had. `stop()` is orderly and keeps the data; disposal ends the server and removes
 * its folder. Whatever is not disposed of ends with the process, however that ends.
 */
export interface ServerHandle extends SharedServer, AsyncDisposable {
  readonly isRunning: boolean;
  /** Ends the server in order, as an administrator would; `restart()` brings it back. */
  stop(): Promise<void>;
  /** SIGKILL to all its processes. */
  kill(): Promise<void>;
  /** Starts a stopped or killed server again; a running one is stopped first. */
  restart(): Promise<void>;
  /** SIGSTOP to all its processes: connections stay open, nothing answers. */
  pause(): Promise<void>;
  /** SIGCONT. */
  resume(): Promise<void>;
  /** The last lines that the server wrote, for messages. */
  log(): Promise<string>;
}

/** What runs one server: a process of this machine or a container. */
export interface Engine extends Endpoint {
  readonly isRunning: boolean;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  remove(): Promise<void>;
  log(): Promise<string>;
}
