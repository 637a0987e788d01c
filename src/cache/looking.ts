import { elapsedMs } from '../core/clock.js';
import type { Found } from './authority.js';
import type { Deck } from './deck.js';
import { type Flight, type FlightRequest, newFlight, timeoutError, untilEnd } from './flight.js';
import { handOut } from './isolation.js';
import { ageNow } from './lifetime.js';
import { fly } from './loading.js';
import { expectsMiss, type Look, noteLook } from './looks.js';
import { keepNear } from './near.js';
import { noteFailure } from './refresh.js';

/** Answers a caller from the tiers, and from the loader where they have nothing. */
export function lookUp(deck: Deck, key: string, request: FlightRequest): Promise<unknown> {
  const { looks, flights } = deck;
  const present = looks.running.get(key);
  if (present !== undefined) takeOff(deck, present);
  const flight = flights.get(key);
  if (flight !== undefined) {
    request.onWait?.();
    return join(deck, flight, request);
  }
  const { isShared, leasesAtOnce } = deck.tiers.authority;
  const isPlain = isShared && !request.isLinearizable;
  const leasesFirst = isPlain && leasesAtOnce && expectsMiss(looks);
  if (isPlain && !leasesFirst) return look(deck, key, request);
  const begun = beginFlight(deck, key);
  const joined = join(deck, begun, request);
  fly(deck, begun, { leasesFirst }).catch(() => {});
  return joined;
}

/** Ends all looks with an error, as the cache closes. */
export function failLooks(deck: Deck, error: unknown): void {
  for (const one of Array.from(deck.looks.running.values())) giveUp(deck, one, error);
}

function join({ gate }: Deck, flight: Flight, request: FlightRequest): Promise<unknown> {
  gate.begin();
  return new Promise((resolve, reject) => flight.join(request, { resolve, reject }));
}

function beginFlight(deck: Deck, key: string): Flight {
  const { flights, counters, deadlines, gate } = deck;
  const onAbandoned = (): void => {
    if (flights.get(key) === flight) flights.delete(key);
  };
  const onStale = (): void => noteFailure(deck, key);
  const flight = newFlight({ key, deadlines, counters, gate, onAbandoned, onStale });
  flights.set(key, flight);
  return flight;
}

function look(deck: Deck, key: string, request: FlightRequest): Promise<unknown> {
  const { looks, gate } = deck;
  gate.begin();
  return new Promise((resolve, reject) => {
    const one: Look = {
      key,
      request,
      resolve,
      reject,
      letGo: undefined,
      question: undefined,
    };
    one.letGo = watch(deck, one);
    looks.running.set(key, one);
    if (looks.beginning.push(one) === 1) queueMicrotask(() => begin(deck));
  });
}

/** A read takes at most so many times as long as it may wait for one answer of the tier. */
const QUESTIONS_MAX = 4;

/** Watches the caller's time, if the tier's own does not end before, and its signal. */
function watch(deck: Deck, one: Look): (() => void) | undefined {
  const { request, key } = one;
  const { timeoutMs, signal } = request;
  const isBounded = QUESTIONS_MAX * deck.settings.tierTimeoutMs < timeoutMs;
  if (isBounded && signal === undefined) return undefined;
  return untilEnd(deck.deadlines, request, {
    onTimeUp: () => giveUp(deck, one, timeoutError(key, timeoutMs)),
    onAborted: () => giveUp(deck, one, signal?.reason),
  });
}

function begin(deck: Deck): void {
  const { looks } = deck;
  const { beginning } = looks;
  looks.beginning = [];
  for (const one of beginning) if (isUnderWay(deck, one)) ask(deck, one);
}

const isUnderWay = ({ looks }: Deck, one: Look): boolean => looks.running.get(one.key) === one;

function ask(deck: Deck, one: Look): void {
  const { tiers, settings } = deck;
  const { authority, near } = tiers;
  const { key, request } = one;
  const ticket = near?.begin(key);
  const since = deck.present();
  const waitMs = Math.min(request.timeoutMs, settings.tierTimeoutMs);
  const answer = authority.readThen(key, waitMs, true, (found) => {
    noteLook(deck.looks, found.state);
    if (!isUnderWay(deck, one)) return found;
    const isFresh = found.state === 'found' && ageNow(settings.clock, found) === 'fresh';
    if (isFresh) land(deck, one, found);
    else takeOff(deck, one);
    return found;
  });
  one.question = { answer, since, ticket };
}

/** The caller gets what was found, and memory a copy. */
function land(deck: Deck, one: Look, { local, validity, isHeld }: Found): void {
  if (!isHeld) keepNear(deck, one.question?.ticket, local, validity);
  deck.slides?.read(one.key, local, validity);
  endTicket(deck, one);
  leave(deck, one);
  deck.counters.hitCount += 1;
  deck.gate.end();
  try {
    one.resolve(handOut(one.key, local));
  } catch (error) {
    one.reject(error);
  }
}

/** The caller goes without an answer. */
function giveUp(deck: Deck, one: Look, reason: unknown): void {
  endTicket(deck, one);
  leave(deck, one);
  deck.counters.missCount += 1;
  deck.gate.end();
  one.reject(reason);
}

/** The look becomes the first one of a flight, with its caller alone. */
function takeOff(deck: Deck, one: Look): void {
  const { settings } = deck;
  const { key, request, question } = one;
  leave(deck, one);
  const spentMs = question === undefined ? 0 : elapsedMs(settings.clock, question.since);
  const flight = beginFlight(deck, key);
  const leftMs = Math.max(request.timeoutMs - spentMs, 1);
  flight.join({ ...request, leftMs }, one);
  fly(deck, flight, { question }).catch(() => {});
}

function leave({ looks }: Deck, { key, letGo }: Look): void {
  letGo?.();
  looks.running.delete(key);
}

function endTicket({ tiers: { near } }: Deck, { question }: Look): void {
  if (question?.ticket !== undefined) near?.end(question.ticket);
}
