import { abortable, abortScope, throwIfAborted } from '../core/abort.js';
import { elapsedMs, type Instant, instantOf, type Validity } from '../core/clock.js';
import { keepClaim, newToken } from './claims.js';
import type { Deck } from './deck.js';
import { cacheFillRefused, cacheLoad } from './diagnostics.js';
import type { FillTicket } from './driver.js';
import type { Flight, Sighting } from './flight.js';
import { type Isolated, isolate } from './isolation.js';

/** A refused fill is loaded again, so often in all. */
const LOADS_MAX = 3;
/** Followers look by themselves at least so often, should the wake-up be lost. */
const POLL_MS_MAX = 250;

/** The way from a first look to a value. */
interface Trip {
  readonly deck: Deck;
  readonly flight: Flight;
  readonly begun: Instant;
  isMissed: boolean;
  loadCount: number;
  /** What is left of the time that reads may wait for the authority. */
  tierMsLeft: number;
}

/**
 * Serves a flight until nobody waits any more: looks, wins the lease or follows who has it, loads,
 * fills. Never rejects.
 */
export async function fly(deck: Deck, flight: Flight): Promise<void> {
  const { near } = deck.tiers;
  try {
    // Callers of one turn share the first look.
    await Promise.resolve();
    let trip = newTrip(deck, flight);
    while (flight.callerCount > 0) {
      const ticket = near?.begin(flight.key);
      try {
        const sighting = await pass(trip, ticket);
        if (sighting === undefined) continue;
        flight.land(sighting);
        trip = newTrip(deck, flight);
      } finally {
        if (ticket !== undefined) near?.end(ticket);
      }
    }
  } catch (error) {
    flight.fail(error);
  } finally {
    // In the same turn as the last look at its callers, so that nobody can join it in between.
    if (deck.flights.get(flight.key) === flight) deck.flights.delete(flight.key);
  }
}

function newTrip(deck: Deck, flight: Flight): Trip {
  const { clock, tierTimeoutMs } = deck.settings;
  const counts = { isMissed: false, loadCount: 0, tierMsLeft: tierTimeoutMs };
  return { deck, flight, begun: instantOf(clock), ...counts };
}

/** One way through; undefined when it is to be gone again: after a wait, or a refused fill. */
async function pass(trip: Trip, ticket: FillTicket | undefined): Promise<Sighting | undefined> {
  const { deck, flight } = trip;
  const { authority } = deck.tiers;
  throwIfAborted(flight.signal);
  if (!trip.isMissed) {
    const seen = authority.isShared ? await look(trip, ticket) : undefined;
    if (seen !== undefined) return seen;
    trip.isMissed = true;
    flight.miss();
    if (trip.tierMsLeft <= 0) return loadUnfilled(trip, ticket);
  }
  const token = newToken(deck.settings.random);
  const asOf = flight.seal();
  const answer = await timed(trip, (timeoutMs) => authority.lease(flight.key, token, timeoutMs));
  switch (answer.state) {
    case 'found':
      keepNear(deck, ticket, answer.local, answer.validity);
      return { local: answer.local, asOf };
    case 'leader':
      return lead(trip, token, ticket);
    case 'follower':
      return follow(trip, answer.remainingMs, ticket);
    case 'held':
      // What is loaded now may be older than the commit that the holder is about to make.
      return loadUnfilled(trip, undefined);
    case 'failed':
      return loadUnfilled(trip, ticket);
  }
}

async function look(trip: Trip, ticket: FillTicket | undefined): Promise<Sighting | undefined> {
  const { deck, flight } = trip;
  const asOf = flight.seal();
  const answer = await timed(trip, (timeoutMs) => deck.tiers.authority.read(flight.key, timeoutMs));
  if (answer.state === 'failed') trip.tierMsLeft = 0;
  if (answer.state !== 'found') return undefined;
  keepNear(deck, ticket, answer.local, answer.validity);
  return { local: answer.local, asOf };
}

/** Takes the time of a question from what the trip may spend on the authority. */
async function timed<Reply>(trip: Trip, ask: (timeoutMs: number) => Promise<Reply>) {
  const { clock } = trip.deck.settings;
  const since = instantOf(clock);
  const reply = await ask(Math.max(trip.tierMsLeft, 1));
  trip.tierMsLeft -= elapsedMs(clock, since);
  return reply;
}

/** Waits for the end of somebody else's lease; for half of the caller's time, then loads alone. */
async function follow(
  trip: Trip,
  remainingMs: number,
  ticket: FillTicket | undefined,
): Promise<Sighting | undefined> {
  const { deck, flight, begun } = trip;
  const { clock, random, tierTimeoutMs } = deck.settings;
  const followMs = (flight.first()?.timeoutMs ?? 0) / 2;
  if (elapsedMs(clock, begun) >= followMs) return loadUnfilled(trip, ticket);
  const timeoutMs = Math.min(remainingMs, POLL_MS_MAX) * (0.5 + random.fraction() / 2);
  using scope = abortScope({ clock, parents: [flight.signal], timeoutMs });
  await deck.tiers.authority.changed(flight.key, scope.signal);
  // Waiting for another node's load is not waiting for the tier.
  trip.tierMsLeft = tierTimeoutMs;
  return undefined;
}

/** Loads and fills as the holder of the lease. */
async function lead(
  trip: Trip,
  token: string,
  ticket: FillTicket | undefined,
): Promise<Sighting | undefined> {
  const { deck, flight } = trip;
  const { authority } = deck.tiers;
  const { clock, leaseMs, tierTimeoutMs } = deck.settings;
  const { key } = flight;
  const since = instantOf(clock);
  const loadedAsOf = flight.seal();
  const ttlMs = flight.first()?.ttlMs ?? 0;
  let value: Isolated | undefined;
  const stop = keepClaim({ authority, clock, leaseMs }, key, { kind: 'lease', token });
  try {
    value = await load(trip);
  } catch (error) {
    // Nobody needs to wait for the answer; without it the lease ends by itself.
    authority.fill(key, token, { value: undefined, ttlMs }, tierTimeoutMs).catch(() => {});
    throw error;
  } finally {
    stop();
  }
  flight.offer({ local: value, asOf: loadedAsOf });
  const filledAsOf = flight.seal();
  const fill = { value, ttlMs };
  const answer = await timed(trip, (timeoutMs) => authority.fill(key, token, fill, timeoutMs));
  if (answer === 'refused') return refused(trip, { local: value, asOf: loadedAsOf });
  keepNear(deck, ticket, value, { since, forMs: ttlMs });
  return { local: value, asOf: answer === 'accepted' ? filledAsOf : loadedAsOf };
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
  const since = instantOf(deck.settings.clock);
  const asOf = flight.seal();
  const forMs = flight.first()?.ttlMs ?? 0;
  const local = await load(trip);
  keepNear(deck, ticket, local, { since, forMs });
  return { local, asOf };
}

async function load(trip: Trip): Promise<Isolated | undefined> {
  const { deck, flight } = trip;
  const { counters } = deck;
  const { clock, name } = deck.settings;
  const { key, signal } = flight;
  const loader = flight.first()?.loader;
  throwIfAborted(signal);
  flight.load();
  trip.loadCount += 1;
  counters.loadCount += 1;
  const since = instantOf(clock);
  try {
    const call = async (): Promise<unknown> => loader?.({ key, signal });
    const running = cacheLoad.trace(() => ({ cache: name, key }), call);
    const value = await abortable(running, signal);
    const isolated = value === undefined ? undefined : isolate(key, value);
    counters.loadMs.add(elapsedMs(clock, since));
    return isolated;
  } catch (error) {
    counters.loadFailureCount += 1;
    throw error;
  }
}

function keepNear(
  { tiers: { near }, settings: { localTtlMs } }: Deck,
  ticket: FillTicket | undefined,
  local: Isolated | Sighting['local'],
  { since, forMs }: Validity,
): void {
  if (near === undefined || ticket === undefined || local === undefined) return;
  near.put(ticket, local, { since, forMs: Math.min(forMs, localTtlMs) });
}
