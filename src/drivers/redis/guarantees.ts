import { CoordinationError } from '../../core/errors.js';
import type { GuaranteeLevel, Guarantees } from '../../core/guarantees.js';
import type { RedisCallOptions, RedisCalls } from './calls.js';

/** What is written where the server did not let us look; it counts as not given. */
const UNKNOWN = 'unknown';
const CONFIG_PARAMETERS = ['appendonly', 'appendfsync', 'maxmemory', 'maxmemory-policy', 'save'];

/** The settings of a Redis that decide what survives what, each a text or `unknown`. */
export interface RedisSettings {
  readonly redis_version: string;
  /** `standalone`, `sentinel` or `cluster`. */
  readonly redis_mode: string;
  /** `master` or `slave`. */
  readonly role: string;
  readonly connected_slaves: string;
  /** `yes` or `no`. */
  readonly appendonly: string;
  /** `always`, `everysec` or `no`; only CONFIG GET tells it. */
  readonly appendfsync: string;
  /** The RDB schedule; empty for none. */
  readonly save: string;
  /** In bytes; `0` for no limit. */
  readonly maxmemory: string;
  readonly 'maxmemory-policy': string;
}

/**
 * Reads the live settings: INFO, then CONFIG GET where it is allowed. On a cluster it is one node
 * that answers.
 *
 * Rejects with BACKEND_UNAVAILABLE or RESULT_UNKNOWN when the server cannot be asked at all.
 */
export async function readRedisSettings(
  calls: RedisCalls,
  options?: RedisCallOptions,
): Promise<RedisSettings> {
  const { client } = calls;
  const info = infoFields(await calls.send('INFO', () => client.info(), options));
  const read = async (parameter: string): Promise<readonly [string, string | undefined]> => {
    // Managed services and tight ACLs refuse CONFIG; that is an answer too.
    const reply = await calls
      .send('CONFIG GET', () => client.config('GET', parameter), options)
      .catch(() => undefined);
    return [parameter, configValue(reply, parameter)];
  };
  const config = Object.fromEntries(await Promise.all(CONFIG_PARAMETERS.map(read)));
  const aof = { 0: 'no', 1: 'yes' }[info.aof_enabled ?? ''];
  return {
    redis_version: info.redis_version ?? UNKNOWN,
    redis_mode: info.redis_mode ?? UNKNOWN,
    role: info.role ?? UNKNOWN,
    connected_slaves: info.connected_slaves ?? UNKNOWN,
    appendonly: aof ?? config.appendonly ?? UNKNOWN,
    appendfsync: config.appendfsync ?? UNKNOWN,
    save: config.save ?? UNKNOWN,
    maxmemory: info.maxmemory ?? config.maxmemory ?? UNKNOWN,
    'maxmemory-policy': info.maxmemory_policy ?? config['maxmemory-policy'] ?? UNKNOWN,
  };
}

/** What acknowledged writes of this Redis survive, and why not more. Pure. */
export function redisGuarantees(subject: string, settings: RedisSettings): Guarantees {
  const survives = survivalOf(settings);
  const promises = survives === 'none' ? [] : [PROMISES[survives]];
  return { subject, survives, promises, warnings: warningsOf(settings), settings: { ...settings } };
}

/** Of what guarantees are read, for their sentences. */
export interface GuaranteesOf {
  /** As it stands in {@link Guarantees}: `redis transactions`. */
  readonly subject: string;
  /** What needs this Redis: `the decision log`. */
  readonly user: string;
  /** What is kept in it: `decisions`. */
  readonly kept: string;
}

/**
 * Reads what this Redis promises to a part whose data must never vanish before their time: on top of
 * {@link redisGuarantees}, what breaks the promise outright is told as a refusal.
 *
 * Rejects with BACKEND_UNSUPPORTED for a Redis older than 6.2.
 */
export async function readRedisGuarantees(
  calls: RedisCalls,
  { subject, user, kept }: GuaranteesOf,
  options: RedisCallOptions | undefined,
): Promise<Guarantees> {
  const settings = await readRedisSettings(calls, { signal: options?.signal });
  const { redis_version: version, role, 'maxmemory-policy': policy } = settings;
  if (versionAtLeast(version, 6, 2) === false) {
    const facts = { setting: 'redis_version', found: version, needed: '6.2 or newer' };
    const message = `redis is ${version}, and ${user} needs 6.2 or newer; upgrade it`;
    throw new CoordinationError('BACKEND_UNSUPPORTED', message, { backend: 'redis', ...facts });
  }
  const refusals: string[] = [];
  if (policy !== 'noeviction') {
    refusals.push(
      `maxmemory-policy = ${policy}: Redis may evict ${kept}; set maxmemory-policy noeviction`,
    );
  }
  if (role !== 'master' && role !== 'unknown') {
    refusals.push(`role = ${role}: ${kept} are made on the master; connect the client to it`);
  }
  return { ...redisGuarantees(subject, settings), refusals };
}

/** Whether keys may vanish before their time to make room; true where it could not be read. */
export function evicts(settings: RedisSettings): boolean {
  return settings['maxmemory-policy'] !== 'noeviction';
}

/** Whether a version text is at least `major.minor`; undefined where it could not be read. */
export function versionAtLeast(version: string, major: number, minor: number): boolean | undefined {
  const [, foundMajor, foundMinor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  if (foundMajor === undefined) return undefined;
  const majors = Number(foundMajor);
  return majors > major || (majors === major && Number(foundMinor) >= minor);
}

const PROMISES = {
  process: 'Acknowledged writes survive a crash of the server process (append-only file).',
  'power-loss': 'Acknowledged writes survive a loss of power (append-only file, fsync always).',
} as const;

function survivalOf(settings: RedisSettings): keyof typeof PROMISES | (GuaranteeLevel & 'none') {
  if (settings.appendonly !== 'yes' || evicts(settings)) return 'none';
  return settings.appendfsync === 'always' ? 'power-loss' : 'process';
}

function warningsOf(settings: RedisSettings): string[] {
  const { appendonly, appendfsync, role, connected_slaves: replicas, redis_mode: mode } = settings;
  const policy = settings['maxmemory-policy'];
  const warnings: string[] = [];
  if (evicts(settings)) {
    warnings.push(`Keys may be evicted (maxmemory-policy is ${policy}): set it to noeviction.`);
  }
  if (appendonly !== 'yes') {
    warnings.push(
      `A restart forgets acknowledged writes (appendonly is ${appendonly}): set it to yes.`,
    );
  } else if (appendfsync !== 'always') {
    warnings.push(
      `A loss of power forgets the last writes (appendfsync is ${appendfsync}): set it to always.`,
    );
  }
  if (replicas !== '0' || role !== 'master' || mode !== 'standalone') {
    warnings.push(
      `A fail-over may forget acknowledged writes: replication is asynchronous (role ${role}, mode ${mode}, ${replicas} replicas).`,
    );
  }
  return warnings;
}

function infoFields(info: unknown): Record<string, string | undefined> {
  const fields: Record<string, string | undefined> = {};
  for (const line of String(info).split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields[line.slice(0, colon)] = line.slice(colon + 1);
  }
  return fields;
}

/** CONFIG GET answers a list in RESP2 and a map, an object or a list in RESP3, as the client maps it. */
function configValue(reply: unknown, parameter: string): string | undefined {
  if (Array.isArray(reply)) {
    const index = reply.flat().map(String).indexOf(parameter);
    return index < 0 ? undefined : String(reply.flat()[index + 1]);
  }
  if (reply instanceof Map) return reply.has(parameter) ? String(reply.get(parameter)) : undefined;
  if (typeof reply === 'object' && reply !== null && parameter in reply) {
    return String((reply as Record<string, unknown>)[parameter]);
  }
  return undefined;
}
