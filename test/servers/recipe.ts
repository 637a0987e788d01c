import type { Endpoint, ServerKind } from './handle.js';

/** How to run a server's program. The data folder exists and belongs to `user`. */
export interface ProcessPlan {
  readonly command: string;
  readonly args: readonly string[];
  /** The account to run as when the tests run as root; some servers refuse to be root. */
  readonly user?: string | undefined;
  /** Ends the server in order without waiting for its clients. Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals | undefined;
}

/** How to run a server's image. */
export interface ContainerPlan {
  readonly image: string;
  readonly port: number;
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly command?: readonly string[] | undefined;
}

/** A private place for one server's process. */
export interface Site extends Endpoint {
  /** A new folder under the system's temporary folder, gone with the server. */
  readonly folder: string;
}

/** Everything the provider knows of one kind of server: a row of its table. */
export interface Recipe<Options, Programs> {
  readonly kind: ServerKind;
  /** The environment variable that names a server to use instead of starting one. */
  readonly variable: string;
  /** Debian packages that hold the programs. */
  readonly packages: readonly string[];
  /** The server's programs on this machine, or `undefined` where one is missing. */
  findPrograms(): Promise<Programs | undefined>;
  /** Prepares the site's folder (called once a server) and tells what to run. */
  planProcess(programs: Programs, site: Site, options: Options): Promise<ProcessPlan>;
  planContainer(options: Options): ContainerPlan;
  /** What a client takes to connect. */
  url(endpoint: Endpoint, options: Options): string;
  /** Asks a server by its own protocol whether it serves; answers its version or throws. */
  probe(url: string): Promise<string>;
  /** The endpoint within a `url`, e.g. one from the environment. */
  endpoint(url: string): Endpoint;
}
