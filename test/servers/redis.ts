import type { Endpoint } from './handle.js';
import { findProgram } from './programs.js';
import type { Recipe, Site } from './recipe.js';
import { ask } from './wire.js';

export interface RedisOptions {
  /** Append-only file: what a Redis that holds decisions runs as `'always'`. Default `'no'`. */
  readonly appendonly?: 'no' | 'everysec' | 'always' | undefined;
  readonly password?: string | undefined;
  /** Further lines of redis.conf, e.g. `{ 'maxmemory-policy': 'allkeys-lru' }`. */
  readonly config?: Readonly<Record<string, string>> | undefined;
}

/** redis-server, alone. */
export const redisRecipe: Recipe<RedisOptions, { server: string }> = {
  kind: 'redis',
  variable: 'TRICORD_REDIS_URL',
  packages: ['redis-server'],

  async findPrograms() {
    const server = await findProgram('redis-server', ['/opt/homebrew/bin', '/usr/local/bin']);
    return server === undefined ? undefined : { server };
  },

  async planProcess({ server }, { host, port, folder }: Site, options) {
    const place = ['--bind', host, '--port', String(port), '--dir', folder];
    return { command: server, args: [...place, ...settings(options)] };
  },

  planContainer(options) {
    return {
      image: 'redis:7',
      port: 6379,
      command: ['redis-server', ...settings(options)],
    };
  },

  url({ host, port }, { password }) {
    const login = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
    return `redis://${login}${host}:${port}`;
  },

  endpoint(url): Endpoint {
    const { hostname, port } = new URL(url);
    return { host: hostname, port: Number(port || 6379) };
  },

  async probe(url) {
    const { username, password } = new URL(url);
    const login = [username, password].filter(Boolean).map(decodeURIComponent).join(' ');
    const request = `${login === '' ? '' : `AUTH ${login}\r\n`}INFO server\r\nPING\r\nQUIT\r\n`;
    const answer = await ask(this.endpoint(url), request);
    const version = /redis_version:(\S+)/.exec(answer)?.[1];
    if (version === undefined || !answer.includes('+PONG')) {
      throw new Error(`Redis does not serve yet: ${answer.slice(0, 80)}`);
    }
    return version;
  },
};

function settings({ appendonly = 'no', password, config = {} }: RedisOptions): string[] {
  const values: Record<string, string> = {
    save: '',
    appendonly: appendonly === 'no' ? 'no' : 'yes',
    appendfsync: appendonly === 'no' ? 'everysec' : appendonly,
    ...(password === undefined ? {} : { requirepass: password }),
    ...config,
  };
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
}
