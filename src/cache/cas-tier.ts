import type {
  CallBounds,
  Claim,
  LeaseReply,
  NewEntry,
  SharedTier,
  TierEntry,
  TierTags,
} from './driver.js';

/** What stands at a key of a store. */
export type CasState =
  | { readonly kind: 'entry'; readonly text: string; readonly remainingMs: number }
  | (Claim & { readonly remainingMs: number })
  /** Written before the last `clear`, or its time has ended: as good as nothing. */
  | { readonly kind: 'outdated' };

/** What is to stand at a key, for so long. */
export type NewCasState =
  | { readonly kind: 'entry'; readonly text: string; readonly forMs: number }
  | (Claim & { readonly forMs: number });

/** A state, and by what it can be changed if nobody changed it since. */
export interface CasSight<Target> {
  readonly state: CasState;
  readonly target: Target;
}

/** What a conditional write came to. */
export type CasChange<Target> =
  | {
      readonly state: 'done';
      /** False: a `clear` overtook it, and what was written is outdated. */
      readonly isCurrent: boolean;
      /** By what it can be changed again, where the store told. */
      readonly target: Target | undefined;
    }
  /** It is not as it was. */
  | { readonly state: 'changed' };

/** One key during one operation, which shares its time among all its requests. */
export interface CasItem<Target> {
  /** What stands there now. */
  look(): Promise<CasSight<Target> | undefined>;
  /** Whether a hold stands there, without its text. */
  glance(): Promise<{ readonly isHold: boolean; readonly target: Target } | undefined>;
  /** Writes if nothing is there. */
  add(state: NewCasState): Promise<CasChange<Target>>;
  /** Writes whatever is there. */
  put(state: NewCasState): Promise<void>;
  /** Writes if it is still what was seen. */
  replace(target: Target, state: NewCasState): Promise<CasChange<Target>>;
  /** Removes if it is still what was seen; gone already counts as changed. */
  remove(target: Target): Promise<'done' | 'changed'>;
  /** Waits before another attempt, after so many: by chance, and never beyond the operation's time. */
  pause(attempts: number): Promise<void>;
}

/** The tags of a store. */
export interface CasTags extends TierTags {
  /** The epoch now, made where there is none. */
  epoch(bounds: CallBounds): Promise<string>;
}

/** A store whose only tool is the conditional write of one key. */
export interface CasStore<Target> {
  readonly tags: CasTags;
  /** See `SharedTier.sync`. */
  sync?(bounds: CallBounds): Promise<void>;
  /** What `finish` makes of what stands there, in the cheapest way. */
  read<Result>(
    key: string,
    bounds: CallBounds & { readonly withRemaining: boolean },
    finish: (state: CasState | undefined) => Result,
  ): Promise<Result>;
  item(key: string, operation: string, bounds: CallBounds): CasItem<Target>;
  /** Whether a target still means what it meant: not after a restart of what counts versions. */
  isUsable(target: Target): boolean;
  /** The error for an item that others changed again and again. */
  contended(operation: string, attempts: number): unknown;
  clear(bounds: CallBounds): Promise<void>;
  changed(key: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Each time somebody else changed the item in between; the operation's time ends most sooner. */
const ATTEMPTS_MAX = 64;

/**
 * The leases and holds of a tier over a store that has no scripts: each key has one item, which is an
 * entry, a lease or a hold, and every change names the state that it replaces. A fill whose lease was
 * removed, replaced or outdated therefore finds another state, and is refused.
 */
export function casTier<Target>(store: CasStore<Target>): SharedTier {
  const leases = knownLeases(store);
  const parts: Parts<Target> = { store, leases };

  return {
    scope: 'shared',
    tags: store.tags,
    ...(store.sync && { sync: store.sync }),
    read: (key, bounds) =>
      store.read(key, bounds, (state) =>
        state?.kind === 'entry' ? entryOf(state, bounds.withRemaining) : undefined,
      ),
    async lease(key, token, leaseMs, bounds) {
      const item = store.item(key, 'lease', bounds);
      const claim = { kind: 'lease', token, forMs: leaseMs } as const;
      const [reply, epoch] = await Promise.all([
        bounds.refresh ? refreshLease(parts, item, claim) : lease(parts, item, claim),
        // It may live on a server that is down; without it only a load with tags is not stored. So it
        // must not use up the time of a lease that was won.
        store.tags.epoch({ timeoutMs: bounds.timeoutMs / 2 }).catch(() => undefined),
      ]);
      return reply.state === 'leader' ? { state: 'leader', epoch } : reply;
    },
    renew: (key, claim, claimMs, bounds) =>
      renew(parts, store.item(key, 'renew', bounds), { ...claim, forMs: claimMs }),
    fill: (key, token, entry, bounds) => fill(parts, store.item(key, 'fill', bounds), token, entry),
    async release(key, token, bounds) {
      if (leases.isRefresh(token)) {
        leases.take(token);
        return 'released';
      }
      const item = store.item(key, 'release', bounds);
      const own = leases.take(token) ?? (await ownLease(item, token));
      const isDone = own !== undefined && (await item.remove(own)) === 'done';
      return isDone ? 'released' : 'refused';
    },
    seize: (key, token, leaseMs, bounds) =>
      seize(parts, store.item(key, 'seize', bounds), { kind: 'lease', token, forMs: leaseMs }),
    async hold(key, token, holdMs, bounds) {
      await store.item(key, 'hold', bounds).put({ kind: 'hold', token, forMs: holdMs });
      return undefined;
    },
    async invalidate(key, holdToken, bounds) {
      await invalidate(parts, store.item(key, 'invalidate', bounds), holdToken);
      return undefined;
    },
    touch(key, ttlMs, bounds) {
      const item = store.item(key, 'touch', bounds);
      return again(store, item, 'touch', async () => {
        const seen = await item.look();
        if (seen?.state.kind !== 'entry') return null;
        const { text } = seen.state;
        const change = await item.replace(seen.target, { kind: 'entry', text, forMs: ttlMs });
        if (change.state === 'changed') return undefined;
        return change.isCurrent ? { stored: text, remainingMs: ttlMs } : null;
      }).then((entry) => entry ?? undefined);
    },
    async extend(key, ttlMs, mark, bounds) {
      const item = store.item(key, 'extend', bounds);
      const seen = await item.look();
      if (seen?.state.kind !== 'entry') return 'unchanged';
      const { text, remainingMs } = seen.state;
      if (remainingMs >= ttlMs || !text.includes(mark)) return 'unchanged';
      // Who changed it meanwhile has written something newer, or extended it.
      const change = await item.replace(seen.target, { kind: 'entry', text, forMs: ttlMs });
      return change.state === 'done' && change.isCurrent ? 'extended' : 'unchanged';
    },
    clear: (bounds) => store.clear(bounds),
    changed: (key, signal) => store.changed(key, signal),
    close: () => store.close(),
  };
}

interface Parts<Target> {
  readonly store: CasStore<Target>;
  readonly leases: KnownLeases<Target>;
}

type NewClaim = Claim & { readonly forMs: number };

function lease<Target>(
  { store, leases }: Parts<Target>,
  item: CasItem<Target>,
  claim: NewClaim,
): Promise<LeaseReply<string>> {
  const isWon = (change: CasChange<Target>): boolean => leases.note(claim.token, change);
  return again(store, item, 'lease', async () => {
    if (isWon(await item.add(claim))) return { state: 'leader' };
    const seen = await item.look();
    switch (seen?.state.kind) {
      case undefined:
        return undefined;
      case 'entry':
        return { state: 'found', entry: entryOf(seen.state, true) };
      case 'hold':
        return { state: 'held' };
      case 'lease':
        if (seen.state.token !== claim.token) {
          return { state: 'follower', remainingMs: seen.state.remainingMs };
        }
        leases.set(claim.token, seen.target);
        return { state: 'leader' };
      case 'outdated':
        return isWon(await item.replace(seen.target, claim)) ? { state: 'leader' } : undefined;
    }
  });
}

/**
 * For a refresh the entry itself is the claim: whoever replaces the state that was seen before the
 * load has refreshed it, and everybody else is refused. Several nodes may load at once.
 */
async function refreshLease<Target>(
  parts: Parts<Target>,
  item: CasItem<Target>,
  claim: NewClaim,
): Promise<LeaseReply<string>> {
  const seen = await item.look();
  if (seen?.state.kind !== 'entry') return lease(parts, item, claim);
  parts.leases.set(claim.token, seen.target, true);
  return { state: 'leader' };
}

function renew<Target>(
  { store, leases }: Parts<Target>,
  item: CasItem<Target>,
  claim: NewClaim,
): Promise<'held' | 'lost'> {
  if (leases.isRefresh(claim.token)) return Promise.resolve('held');
  leases.take(claim.token);
  return again(store, item, 'renew', async () => {
    const seen = await item.look();
    if (seen?.state.kind !== claim.kind || seen.state.token !== claim.token) return 'lost';
    const change = await item.replace(seen.target, claim);
    if (change.state !== 'done') return undefined;
    if (claim.kind === 'lease') leases.note(claim.token, change);
    return 'held';
  });
}

/** Stores with the lease in one request where its target is known; else it looks first. */
async function fill<Target>(
  { leases }: Parts<Target>,
  item: CasItem<Target>,
  token: string,
  { stored, ttlMs }: NewEntry<string>,
): Promise<'stored' | 'refused'> {
  const own = leases.take(token) ?? (await ownLease(item, token));
  if (own === undefined) return 'refused';
  const change = await item.replace(own, { kind: 'entry', text: stored, forMs: ttlMs });
  return change.state === 'done' && change.isCurrent ? 'stored' : 'refused';
}

async function ownLease<Target>(item: CasItem<Target>, token: string): Promise<Target | undefined> {
  const seen = await item.look();
  return seen?.state.kind === 'lease' && seen.state.token === token ? seen.target : undefined;
}

function seize<Target>(
  { store, leases }: Parts<Target>,
  item: CasItem<Target>,
  claim: NewClaim,
): Promise<'leader' | 'held'> {
  return again(store, item, 'seize', async () => {
    const seen = await item.glance();
    if (seen?.isHold) return 'held';
    const change = await (seen === undefined ? item.add(claim) : item.replace(seen.target, claim));
    return leases.note(claim.token, change) ? 'leader' : undefined;
  });
}

async function invalidate<Target>(
  { store }: Parts<Target>,
  item: CasItem<Target>,
  holdToken: string | undefined,
): Promise<void> {
  const isRemoved = async (target: Target): Promise<true | undefined> =>
    (await item.remove(target)) === 'done' ? true : undefined;
  await again(store, item, 'invalidate', async () => {
    const seen = await item.glance();
    if (seen === undefined) return true;
    if (!seen.isHold) return isRemoved(seen.target);
    const held = await item.look();
    if (held?.state.kind !== 'hold') return undefined;
    return held.state.token === holdToken ? isRemoved(held.target) : true;
  });
}

/** Until nobody has changed the item in between. Of those who try at once, one gets on each time. */
async function again<Target, Result>(
  store: CasStore<Target>,
  item: CasItem<Target>,
  operation: string,
  attempt: () => Promise<Result | undefined>,
): Promise<Result> {
  for (let count = 0; count < ATTEMPTS_MAX; count += 1) {
    const result = await attempt();
    if (result !== undefined) return result;
    if (count > 0) await item.pause(count);
  }
  throw store.contended(operation, ATTEMPTS_MAX);
}

function entryOf(
  { text, remainingMs }: { readonly text: string; readonly remainingMs: number },
  withRemaining: boolean,
): TierEntry<string> {
  return { stored: text, remainingMs: withRemaining ? remainingMs : undefined };
}

/** Leases of this process by token, so that a fill need not look for its lease first. */
interface KnownLeases<Target> {
  set(token: string, target: Target, isRefresh?: boolean): void;
  /** Whether the token stands for an entry that is being refreshed. */
  isRefresh(token: string): boolean;
  /** Takes note of a lease that was written; false when it was not, or is outdated already. */
  note(token: string, change: CasChange<Target>): boolean;
  /** By what the lease can be changed, once; undefined when that is not known. */
  take(token: string): Target | undefined;
}

/** The oldest are forgotten beyond so many: their fills look first. */
const KNOWN_MAX = 10_000;

function knownLeases<Target>(store: CasStore<Target>): KnownLeases<Target> {
  const leases = new Map<string, { readonly target: Target; readonly isRefresh: boolean }>();
  const set = (token: string, target: Target, isRefresh = false): void => {
    leases.set(token, { target, isRefresh });
    const [oldest] = leases.size > KNOWN_MAX ? leases.keys() : [];
    if (oldest !== undefined) leases.delete(oldest);
  };
  return {
    set,
    note(token, change) {
      if (change.state !== 'done' || !change.isCurrent) return false;
      if (change.target !== undefined) set(token, change.target);
      return true;
    },
    isRefresh: (token) => leases.get(token)?.isRefresh === true,
    take(token) {
      const { target } = leases.get(token) ?? {};
      leases.delete(token);
      return target !== undefined && store.isUsable(target) ? target : undefined;
    },
  };
}
