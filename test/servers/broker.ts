import { type AddressInfo, createServer, type Server } from 'node:net';
import { createInterface } from 'node:readline';
import type { Endpoint, ServerKind, ServerSource } from './handle.js';
import { createMariadbDatabase, dropMariadbDatabase } from './mariadb.js';
import { createDatabase, dropDatabase } from './postgresql.js';
import { fromEnvironment, startServer } from './provider.js';

/** What the broker tells of a shared server: a `SharedServer` without its methods. */
export interface SharedServerFacts extends Endpoint {
  readonly kind: ServerKind;
  readonly address: string;
  readonly url: string;
  readonly version: string;
  readonly source: ServerSource;
}

/** What workers ask the broker. A request and its answer are one line of JSON each. */
export type BrokerRequest =
  | { readonly verb: 'server'; readonly kind: ServerKind }
  | { readonly verb: 'database'; readonly name: string; readonly kind: DatabaseKind };

/** The kinds of server that hold several databases. */
export type DatabaseKind = 'postgresql' | 'mariadb';

export type BrokerAnswer =
  | { readonly value: SharedServerFacts | string }
  | { readonly error: string };

/**
 * Owns the servers that the suites of one run share. It lives in the runner's own process and
 * starts a server when the first suite asks for it, so that a run of one file pays for what that
 * file uses.
 */
export class Broker {
  readonly #servers = new Map<ServerKind, Promise<SharedServerFacts>>();
  readonly #started: AsyncDisposable[] = [];
  readonly #databases: { readonly kind: DatabaseKind; readonly url: string }[] = [];
  readonly #listener: Server;

  constructor() {
    this.#listener = createServer((socket) => {
      socket.on('error', () => {});
      createInterface({ input: socket }).on('line', async (line) => {
        const answer = await this.#answer(JSON.parse(line) as BrokerRequest);
        socket.end(`${JSON.stringify(answer)}\n`);
      });
    });
    this.#listener.unref();
  }

  /** Answers the port of 127.0.0.1 on which it listens. */
  open(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject).listen(0, '127.0.0.1', () => {
        resolve((this.#listener.address() as AddressInfo).port);
      });
    });
  }

  async close(): Promise<void> {
    this.#listener.close();
    // Own servers take their databases with them; one from the environment must be left clean.
    for (const { kind, url } of this.#databases) {
      await (kind === 'mariadb' ? dropMariadbDatabase : dropDatabase)(url).catch(() => {});
    }
    await Promise.all(this.#started.map((server) => server[Symbol.asyncDispose]()));
  }

  async #answer(request: BrokerRequest): Promise<BrokerAnswer> {
    try {
      if (request.verb === 'server') return { value: await this.#server(request.kind) };
      const { kind, name } = request;
      const { url, source } = await this.#server(kind);
      const create = kind === 'mariadb' ? createMariadbDatabase : createDatabase;
      const database = await create(url, name);
      if (source === 'environment') this.#databases.push({ kind, url: database });
      return { value: database };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  #server(kind: ServerKind): Promise<SharedServerFacts> {
    const known = this.#servers.get(kind) ?? this.#find(kind);
    this.#servers.set(kind, known);
    return known;
  }

  async #find(kind: ServerKind): Promise<SharedServerFacts> {
    const given = await fromEnvironment(kind);
    if (given !== undefined) return factsOf(given);
    const started = await startServer(kind);
    this.#started.push(started);
    return factsOf(started);
  }
}

// Spelled out, because a handle's methods do not travel.
const factsOf = (server: SharedServerFacts): SharedServerFacts => ({
  kind: server.kind,
  host: server.host,
  port: server.port,
  address: server.address,
  url: server.url,
  version: server.version,
  source: server.source,
});
