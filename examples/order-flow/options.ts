import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

export const DRIVERS = ['memory', 'redis', 'zookeeper'] as const;
export type Drivers = (typeof DRIVERS)[number];

export const TAMPERINGS = ['stock', 'payment', 'order', 'lock'] as const;
export type Tampering = (typeof TAMPERINGS)[number];

export interface Options {
  readonly drivers: Drivers;
  readonly nodes: number;
  readonly buyers: number;
  readonly products: number;
  readonly units: number;
  readonly seed: number;
  readonly kill: boolean;
  readonly tamper: Tampering | undefined;
  readonly redisUrl: string | undefined;
  readonly zookeeper: string | undefined;
  readonly postgresUrl: string | undefined;
}

export const HELP = `A flash sale: nodes of a shop sell scarce products through tricord's lock, transaction and cache,
and an audit then reads the stores and proves that nothing was oversold, lost or left behind.

  npm run demo -- [flags]

  --drivers <name>       memory (default), redis or zookeeper
  --nodes <n>            nodes of the shop; with redis and zookeeper each is a process (default 4)
  --buyers <n>           people who each want one unit (default 2000)
  --products <n>         products on offer (default 10)
  --units <n>            units of each product (default 10)
  --seed <n>             who wants what and who can pay; printed, so that a sale can be repeated
  --kill                 end one node with SIGKILL while it has prepared branches (redis, zookeeper)
  --tamper <what>        after the sale change the stock, payment, order or lock behind the library's
                         back: the audit must notice
  --redis-url <url>      a Redis to use       (else TRICORD_REDIS_URL, else one is started)
  --zookeeper <servers>  a ZooKeeper to use   (else TRICORD_ZOOKEEPER_SERVERS, else one is started)
  --postgres-url <url>   a PostgreSQL to use  (else TRICORD_POSTGRES_URL, else one is started)
  --help                 this text

Exit code: 0 the audit is clean, 1 an invariant is violated or the sale could not be held, 2 bad flags.
`;

/** A flag that cannot be used: a sentence for the person who typed it. */
export class BadFlag extends Error {
  override readonly name = 'BadFlag';
}

/** Reads the command line. Answers 'help', or throws a BadFlag. */
export function readOptions(args: readonly string[]): Options | 'help' {
  const flags = parse(args);
  if (flags.help === true) return 'help';
  const options: Options = {
    drivers: oneOf('drivers', flags.drivers ?? 'memory', DRIVERS),
    nodes: count('nodes', flags.nodes ?? '4', 64),
    buyers: count('buyers', flags.buyers ?? '2000', 1_000_000),
    products: count('products', flags.products ?? '10', 1_000),
    units: count('units', flags.units ?? '10', 1_000_000),
    seed: count('seed', flags.seed ?? String(randomInt(1, 2 ** 31)), 2 ** 32 - 1, 0),
    kill: flags.kill ?? false,
    tamper: flags.tamper === undefined ? undefined : oneOf('tamper', flags.tamper, TAMPERINGS),
    redisUrl: address('redis-url', flags['redis-url'], ['redis:', 'rediss:']),
    zookeeper: servers(flags.zookeeper),
    postgresUrl: address('postgres-url', flags['postgres-url'], ['postgres:', 'postgresql:']),
  };
  refuseContradictions(options);
  return options;
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        drivers: text,
        nodes: text,
        buyers: text,
        products: text,
        units: text,
        seed: text,
        kill: { type: 'boolean' },
        tamper: text,
        'redis-url': text,
        zookeeper: text,
        'postgres-url': text,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new BadFlag(error instanceof Error ? error.message : String(error));
  }
}

function oneOf<T extends string>(flag: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value);
  if (found !== undefined) return found;
  throw new BadFlag(`--${flag} is "${value}"; it must be one of ${known.join(', ')}`);
}

function count(flag: string, value: string, max: number, min = 1): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  throw new BadFlag(`--${flag} is "${value}"; it must be a whole number from ${min} to ${max}`);
}

function address(flag: string, value: string | undefined, schemes: readonly string[]) {
  if (value === undefined) return undefined;
  // The value is not repeated: it may hold a password.
  if (URL.canParse(value) && schemes.includes(new URL(value).protocol)) return value;
  throw new BadFlag(`--${flag} is not an address like ${schemes[0]}//host:port`);
}

function servers(value: string | undefined): string | undefined {
  if (value === undefined || /^[\w.-]+:\d+(,[\w.-]+:\d+)*(\/[\w./-]*)?$/.test(value)) return value;
  throw new BadFlag(`--zookeeper is "${value}"; it must be host:port[,host:port…]`);
}

function refuseContradictions(options: Options): void {
  const { drivers, kill, nodes } = options;
  if (kill && drivers === 'memory') {
    throw new BadFlag(
      '--kill needs nodes that are processes: add --drivers redis or --drivers zookeeper',
    );
  }
  if (kill && nodes < 2) {
    throw new BadFlag(
      `--kill needs a node that lives on: --nodes is ${nodes}, it must be 2 or more`,
    );
  }
  const useless = [
    ['redis-url', options.redisUrl, drivers === 'redis'],
    ['zookeeper', options.zookeeper, drivers === 'zookeeper'],
    ['postgres-url', options.postgresUrl, drivers !== 'memory'],
  ] as const;
  for (const [flag, value, isUsed] of useless) {
    if (value !== undefined && !isUsed) {
      throw new BadFlag(`--${flag} is not used by --drivers ${drivers}`);
    }
  }
}
