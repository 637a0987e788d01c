import { CoordinationError, isCoordinationError } from '../../../core/errors.js';
import type { Guarantees } from '../../../core/guarantees.js';
import type { RedisCalls } from '../calls.js';
import { evicts, type RedisSettings, redisGuarantees, versionAtLeast } from '../guarantees.js';

const NEEDED = '6.2';

/**
 * Refuses a server that is too old, by BACKEND_UNSUPPORTED, the first time a lock is asked for. A
 * server that does not tell its version is taken for new enough.
 */
export async function assertRedisVersion(
  calls: RedisCalls,
  options: { readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const info = await calls
    .send('INFO', () => calls.client.info(), options)
    .catch((error: unknown) => {
      if (isCoordinationError(error, 'BACKEND_UNSUPPORTED')) return '';
      throw error;
    });
  const found = /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'unknown';
  if (versionAtLeast(found, 6, 2) !== false) return;
  throw new CoordinationError(
    'BACKEND_UNSUPPORTED',
    `the lock needs Redis ${NEEDED} or newer; this one is ${found}, so upgrade it`,
    { backend: 'redis', setting: 'redis_version', found, needed: NEEDED },
  );
}

/** What locks on this Redis promise. Pure. */
export function lockGuarantees(settings: RedisSettings): Guarantees {
  const { warnings, ...base } = redisGuarantees('redis lock', settings);
  const promises = [
    'At most one holder of an exclusive lock, as long as this Redis keeps its data.',
    'Fencing tokens increase over the grants of a resource, also after a loss of data, unless the clock of the server goes back by more than the time since the last grant.',
    'Waiters are served in the order of their arrival at the server.',
  ];
  const own = [
    ...(evicts(settings) ? ['An evicted lock has two holders: use the fencing token.'] : []),
    ...(base.survives === 'none'
      ? [
          'After a restart a lock may be granted while its old holder works on: use the fencing token.',
        ]
      : []),
  ];
  return { ...base, promises: [...promises, ...base.promises], warnings: [...warnings, ...own] };
}
