import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { BadFlag, type Options } from '../options.js';
import { PROTOCOLS } from './service.js';

export const KILLS = ['none', 'coordinator', 'participant'] as const;
const DRIVERS = ['redis', 'zookeeper'] as const;

/** A sale of a shop that is several services. */
export interface ServicesOptions {
  /** For the servers: what the other topology reads from its flags. */
  readonly shop: Options;
  readonly protocol: (typeof PROTOCOLS)[number];
  readonly kill: (typeof KILLS)[number];
}

export const SERVICES_HELP = `With --topology services the shop is four services with databases of their own (catalog, stock, payment,
order), and an order is one transaction over all of them.

  --topology services
  --drivers <name>       redis (default) or zookeeper: it carries the calls and holds the decisions
  --protocol <name>      two-phase (default), or three-phase: a majority of the services decides
  --kill <whom>          none (default); coordinator: an order process, while it has prepared branches;
                         participant: a stock process, while it has
  --buyers, --products, --units, --seed, --redis-url, --zookeeper, --postgres-url: as above
`;

/** Whether the command line asks for services. */
export function isServices(args: readonly string[]): boolean {
  const at = args.indexOf('--topology');
  return (at >= 0 && args[at + 1] === 'services') || args.includes('--topology=services');
}

/** Reads the flags of the services. Throws a BadFlag. */
export function readServicesOptions(args: readonly string[]): ServicesOptions {
  const flags = parse(args);
  const protocol = oneOf('protocol', flags.protocol ?? 'two-phase', PROTOCOLS);
  const drivers = flags.drivers ?? 'redis';
  if (drivers === 'memory') {
    throw new BadFlag(
      '--drivers memory lives in one process, and --topology services starts several; choose ' +
        '--drivers redis or --drivers zookeeper, or leave --topology out',
    );
  }
  const shop: Options = {
    drivers: oneOf('drivers', drivers, DRIVERS),
    nodes: 2,
    buyers: count('buyers', flags.buyers ?? '200'),
    products: count('products', flags.products ?? '5'),
    units: count('units', flags.units ?? '20'),
    seed: count('seed', flags.seed ?? String(randomInt(1, 2 ** 31))),
    kill: false,
    tamper: undefined,
    redisUrl: flags['redis-url'],
    zookeeper: flags.zookeeper,
    postgresUrl: flags['postgres-url'],
  };
  return { shop, protocol, kill: oneOf('kill', flags.kill ?? 'none', KILLS) };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const names = ['topology', 'drivers', 'protocol', 'kill', 'buyers', 'products', 'units', 'seed'];
  const addresses = ['redis-url', 'zookeeper', 'postgres-url'];
  try {
    const options = Object.fromEntries([...names, ...addresses].map((name) => [name, text]));
    return parseArgs({ args: [...args], options }).values as Readonly<Record<string, string>>;
  } catch (error) {
    throw new BadFlag(error instanceof Error ? error.message : String(error));
  }
}

function oneOf<T extends string>(flag: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value);
  if (found !== undefined) return found;
  throw new BadFlag(`--${flag} is "${value}"; it must be one of ${known.join(', ')}`);
}

function count(flag: string, value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1 && number < 2 ** 32) return number;
  throw new BadFlag(`--${flag} is "${value}"; it must be a whole number from 1 on`);
}
