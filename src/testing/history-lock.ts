import type { Lock } from '../lock/lock.js';
import {
  type AnyLease,
  beginOperation,
  type HistoryPen,
  type RecordedOperation,
  type Request,
  rawLease,
  recordedLease,
} from './history-lease.js';

export type { HistoryPen } from './history-lease.js';

/** What of a request's options stands in a history. */
interface Asked {
  readonly mode?: 'exclusive' | 'shared' | undefined;
  readonly permits?: number | undefined;
  readonly capacity?: number | undefined;
  readonly ttlMs?: number | undefined;
  readonly maxHoldMs?: number | undefined;
  readonly renew?: boolean | undefined;
  readonly reentrant?: boolean | undefined;
  readonly within?: AnyLease | undefined;
}

/** Several leases that were taken together. */
interface AnyLeaseSet {
  readonly isHeld: boolean;
  get(resource: string): AnyLease;
  assertHeld(): void;
  release(): Promise<'released' | 'lost'>;
}

type Verb = (resource: unknown, options: unknown) => Promise<unknown>;
type Body = (lease: unknown) => unknown;
/** The lock as its overloads look from here. */
interface PlainLock {
  readonly nodeId: string;
  readonly acquire: Verb;
  readonly tryAcquire: Verb;
  withLock(resource: unknown, options: unknown, body: Body): Promise<unknown>;
}

/** The same lock, whose requests and leases are written down. Everything else goes through. */
export function recordedLock(lock: Lock, pen: HistoryPen): Lock {
  const plain = lock as unknown as PlainLock;
  return new Proxy(lock, {
    get(target, property) {
      switch (property) {
        case 'acquire':
          return (resource: unknown, options: Asked = {}) =>
            take(plain, pen, 'acquire', resource, options);
        case 'tryAcquire':
          return (resource: unknown, options: Asked = {}) =>
            take(plain, pen, 'tryAcquire', resource, options);
        case 'withLock':
          return (resource: unknown, ...rest: [Asked, Body] | [Body]) => {
            const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest;
            return takeWith(plain, pen, resource, options, body);
          };
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function take(
  lock: PlainLock,
  pen: HistoryPen,
  verb: 'acquire' | 'tryAcquire',
  resource: unknown,
  options: Asked,
): Promise<unknown> {
  const operations = begin(lock, pen, resource, options, verb === 'acquire');
  try {
    const taken = await lock[verb](resource, plainOptions(options));
    if (taken !== undefined) return granted(taken, operations, Array.isArray(resource));
    for (const operation of operations.values()) operation.ended('taken');
    return undefined;
  } catch (error) {
    for (const operation of operations.values()) operation.ended('refused', error);
    throw error;
  }
}

async function takeWith(
  lock: PlainLock,
  pen: HistoryPen,
  resource: unknown,
  options: Asked,
  body: Body,
): Promise<unknown> {
  const operations = begin(lock, pen, resource, options, true);
  let end: (() => Promise<unknown>) | undefined;
  let ending: Promise<unknown> = Promise.resolve();
  let isOver = (): void => {};
  try {
    return await lock.withLock(resource, plainOptions(options), async (lease) => {
      const recorded = granted(lease, operations, Array.isArray(resource)) as AnyLease;
      // The release is the lock's own; asked again afterwards, it tells how that went.
      const released = new Promise<void>((resolve) => {
        isOver = resolve;
      });
      const answer = () => released.then(() => (rawLease(recorded) as AnyLease).release());
      end = async () => ending;
      try {
        return await body(recorded);
      } finally {
        ending = endAll(lease, operations, answer);
      }
    });
  } catch (error) {
    if (end === undefined) {
      for (const operation of operations.values()) operation.ended('refused', error);
    }
    throw error;
  } finally {
    isOver();
    await end?.();
  }
}

/** Writes down the ends of all, which begin at one moment and are answered together. */
function endAll(
  lease: unknown,
  operations: ReadonlyMap<string, RecordedOperation>,
  act: () => Promise<unknown>,
): Promise<unknown> {
  const held = lease as { readonly isHeld: boolean };
  const ends = Array.from(operations.values(), (operation) => operation.release(() => held.isHeld));
  const answer = act();
  return Promise.allSettled(ends.map((ended) => ended(answer)));
}

/** Writes down the request: one operation for each resource. */
function begin(
  lock: PlainLock,
  pen: HistoryPen,
  resource: unknown,
  options: Asked,
  waits: boolean,
): Map<string, RecordedOperation> {
  const isOneOfSeveral = Array.isArray(resource);
  const resources = isOneOfSeveral ? new Set<unknown>(resource) : [resource];
  const { mode, permits = 1, capacity, ttlMs, maxHoldMs, renew = true, reentrant } = options ?? {};
  const request: Omit<Request, 'resource'> = {
    node: lock.nodeId,
    mode: capacity === undefined ? (mode ?? 'exclusive') : 'counting',
    ...(capacity === undefined ? {} : { permits, capacity }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(maxHoldMs === undefined ? {} : { maxHoldMs }),
    ...(reentrant === true ? { isReentrant: true } : {}),
    renew,
    waits,
    isOneOfSeveral,
  };
  return new Map(
    Array.from(resources, (each) => {
      const name = String(each);
      return [name, beginOperation(pen, { ...request, resource: name })];
    }),
  );
}

function granted(
  taken: unknown,
  operations: ReadonlyMap<string, RecordedOperation>,
  areSeveral: boolean,
): unknown {
  if (areSeveral) return grantedSet(taken as AnyLeaseSet, operations);
  const lease = taken as AnyLease;
  const operation = operations.values().next().value as RecordedOperation;
  operation.granted(lease);
  return recordedLease(lease, operation);
}

const unlessLost = (outcome: unknown): unknown => (outcome === 'lost' ? 'failed' : outcome);

function grantedSet(
  set: AnyLeaseSet,
  operations: ReadonlyMap<string, RecordedOperation>,
): AnyLeaseSet {
  const leases = new Map<string, AnyLease>();
  for (const [resource, operation] of operations) {
    const lease = set.get(resource);
    operation.granted(lease);
    leases.set(resource, recordedLease(lease, operation));
  }
  const release = async (): Promise<unknown> => {
    let answer: Promise<unknown> = Promise.resolve();
    await endAll(set, operations, () => {
      answer = set.release();
      // 'lost' is true of one of them, and does not say of which.
      return operations.size === 1 ? answer : answer.then(unlessLost);
    });
    return answer;
  };
  return new Proxy(set, {
    get(target, property) {
      if (property === 'get')
        return (resource: string) => leases.get(resource) ?? target.get(resource);
      if (property === 'release') return release;
      if (property === Symbol.asyncDispose) return async () => void (await release());
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** What the lock is given: a lease that it made itself, not its recorded form. */
function plainOptions(options: Asked): Asked {
  if (options?.within === undefined) return options;
  return { ...options, within: rawLease(options.within) };
}
