import type {
  LocalValue,
  SharedCacheDriver,
  SharedTier,
  TierEntry,
} from '../../../src/cache/driver.js';
import type { Clock } from '../../../src/core/clock.js';
import { CoordinationError } from '../../../src/core/errors.js';
import { memoryCache } from '../../../src/memory.js';

/** A shared tier inside the test: what Redis does, without the network, and with its failures. */
export interface SharedMemory extends SharedCacheDriver {
  /** From now on calls whose operation is named are never answered, until `thaw`. */
  freeze(...operations: (keyof SharedTier)[]): void;
  /** From now on calls whose operation is named fail at once. */
  fail(...operations: (keyof SharedTier)[]): void;
  thaw(): void;
  /** How many calls of an operation came. */
  count(operation: keyof SharedTier): number;
  /** Called before an operation takes effect; what it returns is awaited. */
  before: ((operation: keyof SharedTier, key: string) => unknown) | undefined;
  /** Called after an operation took effect, before its answer; what it returns is awaited. */
  after: ((operation: keyof SharedTier, key: string) => unknown) | undefined;
}

export function sharedMemory(
  clock: Clock,
  { fences = false, leasesAtOnce = false } = {},
): SharedMemory {
  const store = memoryCache();
  const frozen = new Set<string>();
  const failing = new Set<string>();
  const counts = new Map<string, number>();

  const unanswered = (operation: string, timeoutMs: number): Promise<never> =>
    new Promise((_, reject) => {
      const details = { backend: 'test', operation };
      const error = new CoordinationError('RESULT_UNKNOWN', 'no answer', details);
      clock.schedule(timeoutMs, () => reject(error));
    });
  const driver: SharedMemory = {
    backend: 'shared',
    scope: 'shared',
    before: undefined,
    after: undefined,
    freeze(...operations) {
      for (const operation of operations) frozen.add(operation);
    },
    fail(...operations) {
      for (const operation of operations) failing.add(operation);
    },
    thaw() {
      frozen.clear();
      failing.clear();
    },
    count: (operation) => counts.get(operation) ?? 0,
    open(node) {
      const tier = store.open(node);
      const call = async <Reply>(
        operation: keyof SharedTier,
        key: string,
        timeoutMs: number,
        run: () => Promise<Reply>,
      ): Promise<Reply> => {
        counts.set(operation, (counts.get(operation) ?? 0) + 1);
        if (failing.has(operation)) {
          const details = { backend: 'test', operation };
          throw new CoordinationError('BACKEND_UNAVAILABLE', 'down', details);
        }
        if (frozen.has(operation)) return unanswered(operation, timeoutMs);
        await driver.before?.(operation, key);
        const reply = await run();
        await driver.after?.(operation, key);
        return reply;
      };
      const { tags } = tier;
      const local = (text: string): LocalValue => ({ value: text, isShareable: true });
      const textual = ({ stored, remainingMs }: TierEntry<LocalValue>): TierEntry<string> => {
        return { stored: String(stored.value), remainingMs };
      };
      return {
        scope: 'shared',
        fences,
        leasesAtOnce,
        tags: tags && {
          versions: (names, bounds) =>
            call('tags', names.join(), bounds.timeoutMs, () => tags.versions(names, bounds)),
          stamp: (names, keepMs, bounds) =>
            call('tags', names.join(), bounds.timeoutMs, () => tags.stamp(names, keepMs, bounds)),
          renew: (names, bounds) =>
            call('tags', names.join(), bounds.timeoutMs, () => tags.renew(names, bounds)),
        },
        read: (key, bounds) =>
          call('read', key, bounds.timeoutMs, async () => {
            const entry = await tier.read(key, bounds);
            return entry && textual(entry);
          }),
        lease: (key, token, leaseMs, bounds) =>
          call('lease', key, bounds.timeoutMs, async () => {
            const reply = await tier.lease(key, token, leaseMs, bounds);
            return reply.state === 'found' ? { ...reply, entry: textual(reply.entry) } : reply;
          }),
        renew: (key, claim, claimMs, bounds) =>
          call('renew', key, bounds.timeoutMs, () => tier.renew(key, claim, claimMs, bounds)),
        fill: (key, token, { stored, ttlMs }, bounds) =>
          call('fill', key, bounds.timeoutMs, () =>
            tier.fill(key, token, { stored: local(stored), ttlMs }, bounds),
          ),
        release: (key, token, bounds) =>
          call('release', key, bounds.timeoutMs, () => tier.release(key, token, bounds)),
        seize: (key, token, leaseMs, bounds) =>
          call('seize', key, bounds.timeoutMs, () => tier.seize(key, token, leaseMs, bounds)),
        hold: (key, token, holdMs, bounds) =>
          call('hold', key, bounds.timeoutMs, () => tier.hold(key, token, holdMs, bounds)),
        invalidate: (key, holdToken, bounds) =>
          call('invalidate', key, bounds.timeoutMs, () => tier.invalidate(key, holdToken, bounds)),
        touch: (key, ttlMs, bounds) =>
          call('touch', key, bounds.timeoutMs, async () => {
            const entry = await tier.touch(key, ttlMs, bounds);
            return entry && textual(entry);
          }),
        extend: (key, ttlMs, mark, bounds) =>
          call('extend', key, bounds.timeoutMs, async () => {
            const entry = await tier.read(key, { ...bounds, withRemaining: true });
            const isSame = entry !== undefined && String(entry.stored.value).includes(mark);
            if (!isSame || (entry.remainingMs ?? 0) >= ttlMs) return 'unchanged';
            await tier.touch(key, ttlMs, bounds);
            return 'extended';
          }),
        sync: (bounds) => call('sync', '', bounds.timeoutMs, async () => {}),
        clear: (bounds) => call('clear', '', bounds.timeoutMs, () => tier.clear(bounds)),
        changed: (key, signal) => tier.changed(key, signal),
        close: () => tier.close(),
      };
    },
  };
  return driver;
}

/** Puts a text into the tier as another program would. */
export async function plant(
  driver: SharedMemory,
  clock: Clock,
  name: string,
  key: string,
  text: string,
): Promise<void> {
  const random = { fraction: () => 0, token: (length: number) => '-'.repeat(length) };
  const tier = driver.open({ name, clock, random });
  const bounds = { timeoutMs: 1_000 };
  await tier.seize(key, 'planter', 1_000, bounds);
  await tier.fill(key, 'planter', { stored: text, ttlMs: 60_000 }, bounds);
}
