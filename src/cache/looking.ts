import { elapsedMs, type Instant } from '../core/clock.js';
import type { Answer, Found, ReadAnswer } from './authority.js';
import type { Deck } from './deck.js';
import type { FillTicket } from './driver.js';
import { type Flight, type FlightRequest, newFlight, timeoutError, untilEnd } from './flight.js';
import { handOut } from './isolation.js';
import { isFresh } from './lifetime.js';
import { fly } from './loading.js';
import { keepNear } from './near.js';
import { noteFailure } from './refresh.js';

/**
 * A caller of `getOrLoad` who asks the shared tier for a key, and is alone with it so far. Nearly all
 * find what they ask for and need no flight, which costs several times as much. It becomes one when
 * somebody else comes for the same key, or when the answer is not simply a good entry.
 */
export interface Look {
  readonly key: string;
  readonly request: FlightRequest;
  readonly wave: Wave;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  letGo: (() => void) | undefined;
  /** Undefined: the tier was not asked yet. */
  question: Question | undefined;
}

/** What a look asked, and when. */
export interface Question {
  readonly answer: Promise<Answer<ReadAnswer>>;
  readonly since: Instant;
  readonly ticket: FillTicket | undefined;
}

/** The looks of one cache, each alone with its key. */
export interface Looks {
  /** By key, those that began at about the same time together. */
  readonly waves: Wave[];
  /** Those of them that begin soon, so that callers of one key and one turn meet before. */
  beginning: Look[];
}

/**
 * No single Map: where very many come and go, each of its tables holds on to the next one, so that in
 * the end the collector copies everything that ever was in it.
 */
interface Wave {
  readonly looks: Map<string, Look>;
  /** How many have ever been in it. */
  count: number;
}

const WAVE_MAX = 64;
/** With more under way the tier is so slow that a flight for each does not matter. */
const WAVES_MAX = 32;

/** None yet. */
export const newLooks = (): Looks => ({ waves: [], beginning: [] });

/** Answers a caller from the tiers, and from the loader where they have nothing. */
export function lookUp(deck: Deck, key: string, request: FlightRequest): Promise<unknown> {
  const { looks, flights } = deck;
  const present = find(looks, key);
  if (present !== undefined) takeOff(deck, present);
  const flight = flights.get(key);
  if (flight !== undefined) {
    request.onWait?.();
    return join(deck, flight, request);
  }
  const isPlain = deck.tiers.authority.isShared && !request.isLinearizable;
  const wave = isPlain ? waveFor(looks) : undefined;
  if (wave === undefined) {
    const begun = beginFlight(deck, key);
    const joined = join(deck, begun, request);
    fly(deck, begun, undefined).catch(() => {});
    return joined;
  }
  return look(deck, key, request, wave);
}

function find({ waves }: Looks, key: string): Look | undefined {
  for (const { looks } of waves) {
    const one = looks.get(key);
    if (one !== undefined) return one;
  }
  return undefined;
}

/** The newest wave, or another one; undefined: there are too many. */
function waveFor({ waves }: Looks): Wave | undefined {
  const newest = waves.at(-1);
  if (newest !== undefined && newest.count < WAVE_MAX) return newest;
  if (waves.length === WAVES_MAX) return undefined;
  const wave: Wave = { looks: new Map(), count: 0 };
  waves.push(wave);
  return wave;
}

/** Ends all looks with an error, as the cache closes. */
export function failLooks(deck: Deck, error: unknown): void {
  const all = deck.looks.waves.flatMap(({ looks }) => Array.from(looks.values()));
  for (const one of all) giveUp(deck, one, error);
}

function join(deck: Deck, flight: Flight, request: FlightRequest): Promise<unknown> {
  const { gate } = deck;
  gate.begin();
  return flight
    .join(request)
    .then((local) => local && handOut(flight.key, local))
    .finally(gate.end);
}

function beginFlight(deck: Deck, key: string): Flight {
  const { flights, counters, deadlines } = deck;
  const onAbandoned = (): void => {
    if (flights.get(key) === flight) flights.delete(key);
  };
  const onStale = (): void => noteFailure(deck, key);
  const flight = newFlight({ key, deadlines, counters, onAbandoned, onStale });
  flights.set(key, flight);
  return flight;
}

function look(deck: Deck, key: string, request: FlightRequest, wave: Wave): Promise<unknown> {
  const { looks, gate } = deck;
  gate.begin();
  return new Promise((resolve, reject) => {
    const one: Look = {
      key,
      request,
      wave,
      resolve,
      reject,
      letGo: undefined,
      question: undefined,
    };
    one.letGo = watch(deck, one);
    wave.looks.set(key, one);
    wave.count += 1;
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
  for (const one of beginning) if (isUnderWay(one)) ask(deck, one);
}

const isUnderWay = (one: Look): boolean => one.wave.looks.get(one.key) === one;

function ask(deck: Deck, one: Look): void {
  const { tiers, settings } = deck;
  const { authority, near } = tiers;
  const { key, request } = one;
  const ticket = near?.begin(key);
  const since = deck.present();
  const answer = authority.read(key, Math.min(request.timeoutMs, settings.tierTimeoutMs));
  one.question = { answer, since, ticket };
  answer.then(
    (found) => {
      if (!isUnderWay(one)) return;
      if (found.state === 'found' && isFresh(settings.clock, found)) land(deck, one, found);
      else takeOff(deck, one);
    },
    (error) => isUnderWay(one) && giveUp(deck, one, error),
  );
}

/** The caller gets what was found, and memory a copy. */
function land(deck: Deck, one: Look, { local, validity, isHeld }: Found): void {
  if (!isHeld) keepNear(deck, one.question?.ticket, local, validity);
  if (local.sliding !== undefined) deck.slides?.read(one.key, local, validity);
  endTicket(deck, one);
  leave(deck, one);
  deck.counters.hitCount += 1;
  try {
    one.resolve(handOut(one.key, local));
  } finally {
    deck.gate.end();
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
  const { settings, gate } = deck;
  const { key, request, question } = one;
  leave(deck, one);
  const spentMs = question === undefined ? 0 : elapsedMs(settings.clock, question.since);
  const flight = beginFlight(deck, key);
  const leftMs = Math.max(request.timeoutMs - spentMs, 1);
  flight
    .join({ ...request, leftMs })
    .then((local) => local && handOut(key, local))
    .finally(gate.end)
    .then(one.resolve, one.reject);
  fly(deck, flight, question).catch(() => {});
}

function leave({ looks: { waves } }: Deck, { key, wave, letGo }: Look): void {
  letGo?.();
  wave.looks.delete(key);
  if (wave.looks.size === 0) waves.splice(waves.indexOf(wave), 1);
}

function endTicket({ tiers: { near } }: Deck, { question }: Look): void {
  if (question?.ticket !== undefined) near?.end(question.ticket);
}
