import { abortScope, throwIfAborted } from '../core/abort.js';
import { elapsedMs, type Instant, instantOf, remainingMs } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import type { Answer, Fill, Found, LeaseAnswer, ReadAnswer } from './authority.js';
import { keepClaim, newToken } from './claims.js';
import type { Deck } from './deck.js';
import { cacheFillRefused } from './diagnostics.js';
import type { FillTicket } from './driver.js';
import type { Flight, Sighting } from './flight.js';
import { ageOf, staleForMs } from './lifetime.js';
import { callLoader, type Loaded } from './load-call.js';
import { noteLook } from './looks.js';
import { keepNear } from './near.js';
import { isBackingOff, noteFailure, startRefresh } from './refresh.js';
import { stampFill, type TagsBefore, tagsBefore, untagged } from './tagging.js';
import { isAging } from './tiers.js';
import { newTrip, type StaleSighting, type Start, type Trip } from './trip.js';

/** A refused fill is loaded again, so often in all. */
const LOADS_MAX = 3;
/** Followers look by themselves at least so often, should the wake-up be lost. */
const POLL_MS_MAX = 250;

/**
 * Serves a flight until nobody waits any more: looks, wins the lease or follows who has it, loads,
 * fills. Its first look may have been asked already, for its first caller. Never rejects.
 */
export async function fly(deck: Deck, flight: Flight, start: Start): Promise<void> {
  const { near } = deck.tiers;
  let trip = newTrip(deck, flight, start);
  try {
    // Callers of one turn share the first look.
    if (start.question === undefined) await Promise.resolve();
    while (flight.callerCount > 0) {
      const ticket = trip.question?.ticket ?? near?.begin(flight.key);
      try {
        let sighting: Sighting | undefined;
        try {
          sighting = await pass(trip, ticket);
        } catch (error) {
          sighting = fallBack(trip, error);
        }
        if (sighting === undefined) continue;
        trip.cancelSoft();
        if (!sighting.isStale) deck.refreshes.failures.delete(flight.key);
        flight.land(sighting);
        if (flight.callerCount > 0) trip = newTrip(deck, flight, {});
      } finally {
        if (ticket !== undefined) near?.end(ticket);
      }
    }
  } catch (error) {
    flight.fail(error);
  } finally {
    trip.cancelSoft();
    // In the same turn as the last look at its callers, so that nobody can join it in between.
    if (deck.flights.get(flight.key) === flight) deck.flights.delete(flight.key);
  }
}

/** When the load fails, what is stale serves as far as it may. */
function fallBack({ deck, flight, stale }: Trip, error: unknown): StaleSighting {
  const isOwn = isCoordinationError(error, 'CACHE_VALUE_UNSUPPORTED');
  const isUsable = stale !== undefined && isValid(deck, stale);
  if (!isUsable || isOwn || flight.scope.aborted) throw error;
  noteFailure(deck, flight.key);
  return stale;
}

/** One way through; undefined when it is to be gone again: after a wait, or a refused fill. */
async function pass(trip: Trip, ticket: FillTicket | undefined): Promise<Sighting | undefined> {
  const { deck, flight } = trip;
  const { authority } = deck.tiers;
  throwIfAborted(flight.scope);
  if (!trip.isMissed && !trip.leasesFirst) {
    const isWorthIt = authority.isShared || isAging(deck.settings);
    const seen = isWorthIt ? await look(trip, ticket) : undefined;
    if (seen !== undefined) return seen;
    miss(trip);
    if (trip.tierMsLeft <= 0) return loadUnfilled(trip, ticket);
  }
  const token = newToken(deck.settings.random);
  const asOf = flight.seal();
  const since = deck.present();
  const timeoutMs = Math.max(trip.tierMsLeft, 1);
  const { hasOld, leasesFirst } = trip;
  const answer = await authority.lease(flight.key, token, timeoutMs, hasOld, leasesFirst);
  spend(trip, since);
  if (leasesFirst) noteLease(trip, answer.state);
  switch (answer.state) {
    case 'found':
      return sighted(trip, ticket, answer, needsSync(trip) ? trip.lookedAsOf : asOf);
    case 'outdated':
      trip.hasOld = true;
      return undefined;
    case 'leader':
      return lead(trip, { token, epoch: answer.epoch }, ticket);
    case 'follower':
      return follow(trip, answer.remainingMs, ticket);
    case 'held':
      // What is loaded now may be older than the commit that the holder is about to make.
      return loadUnfilled(trip, undefined);
    case 'failed':
      return loadUnfilled(trip, ticket);
  }
}

function miss(trip: Trip): void {
  trip.isMissed = true;
  trip.flight.miss();
}

/** The lease stood for the first look. */
function noteLease(trip: Trip, state: Answer<LeaseAnswer>['state']): void {
  trip.leasesFirst = false;
  trip.hasLooked = true;
  noteLook(trip.deck.looks, state === 'found' || state === 'failed' ? state : 'leader');
  if (state !== 'found') miss(trip);
}

/** Whether what was not asked for by a look may be too old for who came after it. */
function needsSync({ deck, flight }: Trip): boolean {
  return flight.isLinearizable && deck.tiers.authority.sync !== undefined;
}

const FAILED = { state: 'failed', error: undefined } as const;

async function look(trip: Trip, ticket: FillTicket | undefined): Promise<Sighting | undefined> {
  const { flight, question } = trip;
  const asOf = question === undefined ? flight.seal() : FIRST_CALLER;
  trip.lookedAsOf = asOf;
  const since = question?.since ?? trip.deck.present();
  const answer = await (question === undefined ? ask(trip) : question.answer);
  trip.hasLooked = true;
  trip.question = undefined;
  spend(trip, since);
  if (answer.state === 'failed') trip.tierMsLeft = 0;
  if (answer.state === 'outdated') trip.hasOld = true;
  return answer.state === 'found' ? sighted(trip, ticket, answer, asOf) : undefined;
}

const FIRST_CALLER = 1;

async function ask(trip: Trip): Promise<Answer<ReadAnswer>> {
  const { deck, flight } = trip;
  const { authority } = deck.tiers;
  const timeoutMs = Math.max(trip.tierMsLeft, 1);
  const isCounted = authority.isShared && !trip.hasLooked;
  const synced = flight.isLinearizable ? await authority.sync?.(timeoutMs) : undefined;
  if (synced?.state === 'failed') return FAILED;
  return authority.read(flight.key, timeoutMs, isCounted);
}

/** What an entry is worth that was found; undefined: it has to be loaded. */
function sighted(
  trip: Trip,
  ticket: FillTicket | undefined,
  { local, validity, isHeld }: Found,
  asOf: number,
): Sighting | undefined {
  const { deck, flight } = trip;
  const { clock, aging: policy } = deck.settings;
  const { aging } = local;
  const leftMs = aging === undefined ? validity.forMs : remainingMs(clock, validity);
  const age = ageOf(aging, leftMs);
  if (age === 'fresh') {
    if (!isHeld) keepNear(deck, ticket, local, validity);
    deck.slides?.read(flight.key, local, validity);
    return { local, asOf };
  }
  trip.hasOld = true;
  if (age === 'over') return undefined;
  const oldForMs = staleForMs(aging, leftMs);
  const stale = { local, asOf, isStale: true } as const;
  if (age === 'early' || oldForMs < policy.staleMs) {
    const first = flight.first();
    if (first !== undefined) {
      const { loader, ttlMs, tags } = first;
      startRefresh(deck, { key: flight.key, loader, ttlMs, tags, stale: local });
    }
    return age === 'early' ? { local, asOf } : stale;
  }
  const forMs = policy.staleIfErrorMs - oldForMs;
  if (forMs <= 0) return undefined;
  return offerStale(trip, { ...stale, validity: { since: instantOf(clock), forMs } });
}

/** A stale value that serves if the load fails or takes too long; at once if it did lately. */
function offerStale(trip: Trip, stale: StaleSighting): Sighting | undefined {
  const { deck, flight } = trip;
  const { clock, softTimeoutMs } = deck.settings;
  const { key } = flight;
  trip.stale = stale;
  if (isBackingOff(deck, key)) return stale;
  flight.offer(stale);
  if (softTimeoutMs === undefined) return undefined;
  trip.cancelSoft();
  trip.cancelSoft = clock.schedule(softTimeoutMs, () => {
    if (!isValid(deck, stale)) return;
    noteFailure(deck, key);
    // The load goes on; who comes now begins anew, and is answered at once.
    if (deck.flights.get(key) === flight) deck.flights.delete(key);
    flight.land(stale);
  });
  return undefined;
}

function isValid({ settings: { clock } }: Deck, { validity }: StaleSighting): boolean {
  return remainingMs(clock, validity) > 0;
}

/** Takes the time of a question from what the trip may spend on the authority. */
function spend(trip: Trip, since: Instant): void {
  trip.tierMsLeft -= trip.deck.present().monotonicMs - since.monotonicMs;
}

/** Waits for the end of somebody else's lease; for half of the caller's time, then loads alone. */
async function follow(
  trip: Trip,
  leaseMsLeft: number,
  ticket: FillTicket | undefined,
): Promise<Sighting | undefined> {
  const { deck, flight, begun } = trip;
  const { clock, random, tierTimeoutMs } = deck.settings;
  const first = flight.first();
  const followMs = (first?.timeoutMs ?? 0) / 2;
  if (elapsedMs(clock, begun) >= followMs) return loadUnfilled(trip, ticket);
  first?.onWait?.();
  const timeoutMs = Math.min(leaseMsLeft, POLL_MS_MAX) * (0.5 + random.fraction() / 2);
  using scope = abortScope({ clock, parents: [flight.scope], timeoutMs });
  await deck.tiers.authority.changed(flight.key, scope.signal);
  // Waiting for another node's load is not waiting for the tier.
  trip.tierMsLeft = tierTimeoutMs;
  // A lease for a refresh is given whatever is there: only a look tells that it was refreshed.
  if (trip.hasOld) trip.isMissed = false;
  return undefined;
}

/** Loads and fills as the holder of the lease. */
async function lead(
  trip: Trip,
  { token, epoch }: { readonly token: string; readonly epoch: string | undefined },
  ticket: FillTicket | undefined,
): Promise<Sighting | undefined> {
  const { deck, flight } = trip;
  const { authority } = deck.tiers;
  const { tierTimeoutMs } = deck.settings;
  const { key } = flight;
  const since = deck.present();
  const loadedAsOf = flight.seal();
  // Nobody needs to wait for the answer; without it the lease ends by itself.
  const letGo = (): void =>
    void authority.fill(key, token, { value: undefined, ttlMs: 0 }, tierTimeoutMs).catch(() => {});
  let loaded: Loaded;
  let before: TagsBefore;
  const stop = keepClaim(deck, key, { kind: 'lease', token });
  try {
    const tags = expectedTags(trip);
    before = tags.length === 0 ? untagged(epoch) : await tagsBefore(deck, epoch, tags);
    loaded = await load(trip);
  } catch (error) {
    letGo();
    throw error;
  } finally {
    stop();
  }
  const { local } = loaded;
  flight.offer({ local, asOf: loadedAsOf });
  // Of who comes after this, a tag may be invalidated that the stamps do not know of.
  const filledAsOf = flight.seal();
  let sentAt = deck.present();
  const fill = loaded.tags.length === 0 ? loaded.fill : await stampFill(deck, loaded, before);
  spend(trip, sentAt);
  if (typeof fill === 'string') {
    letGo();
    trip.expectedTags = loaded.tags;
    const sighting = { local, asOf: loadedAsOf };
    return fill === 'moved' ? refused(trip, sighting) : sighting;
  }
  sentAt = deck.present();
  const answer = await authority.fill(key, token, fill, Math.max(trip.tierMsLeft, 1));
  spend(trip, sentAt);
  if (answer === 'refused') return refused(trip, { local, asOf: loadedAsOf });
  if (answer === 'accepted') keepNear(deck, ticket, fill.value, { since, forMs: fill.ttlMs });
  else if (fill.value?.tags === undefined) keepUnheard(deck, ticket, fill, since);
  return { local, asOf: answer === 'accepted' ? filledAsOf : loadedAsOf };
}

/** What the caller says, and what the load before this one has set. */
function expectedTags({ flight, expectedTags: seen }: Trip): readonly string[] {
  const given = flight.first()?.tags ?? [];
  return seen.length === 0 ? given : Array.from(new Set([...given, ...seen]));
}

/** A write came in between. Who came before the load began may have its value; nobody keeps it. */
function refused({ deck, flight, loadCount }: Trip, sighting: Sighting): Sighting | undefined {
  deck.counters.refusedFillCount += 1;
  cacheFillRefused.publish(() => ({ cache: deck.settings.name, key: flight.key }));
  return loadCount < LOADS_MAX ? undefined : sighting;
}

/** Loads without a lease: the authority does not answer, is held, or its leader takes too long. */
async function loadUnfilled(trip: Trip, ticket: FillTicket | undefined): Promise<Sighting> {
  const { deck, flight } = trip;
  const since = deck.present();
  const asOf = flight.seal();
  const { local, fill, tags } = await load(trip);
  // Without the versions of its tags nobody could invalidate it by them.
  if (tags.length === 0) keepUnheard(deck, ticket, fill, since);
  return { local, asOf };
}

/** Keeps what the shared tier may not have: nobody would hear of its change. */
function keepUnheard(
  deck: Deck,
  ticket: FillTicket | undefined,
  { value, ttlMs }: Fill,
  since: Instant,
): void {
  const { outageTtlMs } = deck.settings;
  if (outageTtlMs === 0) return;
  keepNear(deck, ticket, value, { since, forMs: Math.min(ttlMs, outageTtlMs) });
}

function load(trip: Trip): Promise<Loaded> {
  const { deck, flight, stale } = trip;
  const { key, scope } = flight;
  const request = flight.first();
  throwIfAborted(scope);
  if (request === undefined) throw new Error(`nobody waits for ${JSON.stringify(key)}`);
  flight.load();
  trip.loadCount += 1;
  const { loader, ttlMs, tags } = request;
  return callLoader(deck, { key, loader, ttlMs, tags, scope, stale: stale?.local });
}
