import type { Endpoint } from './handle.js';
import { findProgram, isRoot } from './programs.js';
import type { Recipe, Site } from './recipe.js';
import { ask } from './wire.js';

export interface MemcachedOptions {
  readonly memoryMegabytes?: number | undefined;
}

/** memcached, alone. */
export const memcachedRecipe: Recipe<MemcachedOptions, { server: string }> = {
  kind: 'memcached',
  variable: 'TRICORD_MEMCACHED_SERVERS',
  packages: ['memcached'],

  async findPrograms() {
    const server = await findProgram('memcached', ['/opt/homebrew/bin', '/usr/local/bin']);
    return server === undefined ? undefined : { server };
  },

  async planProcess({ server }, { host, port }: Site, options) {
    const account = isRoot() ? ['-u', 'root'] : [];
    const args = ['-l', host, '-p', String(port), '-U', '0', ...account, ...settings(options)];
    return { command: server, args };
  },

  planContainer(options) {
    return {
      image: 'memcached:1.6',
      port: 11_211,
      command: ['memcached', ...settings(options)],
    };
  },

  url: ({ host, port }) => `${host}:${port}`,

  endpoint(servers): Endpoint {
    const [host = '127.0.0.1', port = '11211'] = (servers.split(',')[0] ?? '').split(':');
    return { host, port: Number(port) };
  },

  async probe(servers) {
    const answer = await ask(this.endpoint(servers), 'version\r\nquit\r\n');
    const version = /VERSION (\S+)/.exec(answer)?.[1];
    if (version === undefined) throw new Error(`Memcached does not serve yet: ${answer}`);
    return version;
  },
};

const settings = ({ memoryMegabytes = 64 }: MemcachedOptions): string[] => [
  '-m',
  String(memoryMegabytes),
];
