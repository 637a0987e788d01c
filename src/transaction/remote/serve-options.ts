import { type Clock, systemClock } from '../../core/clock.js';
import { defaultNodeId } from '../../core/ids.js';
import { systemRandom } from '../../core/random.js';
import { assertNodeId, assertNumber, assertSignal, invalidArgument } from '../../core/validate.js';
import { assertLog, assertNamespace, assertParticipants, assertSite } from '../options.js';
import { assertServiceName } from './call-keys.js';
import type { ServeParticipantOptions } from './serve-participant.js';

type Options = ServeParticipantOptions<unknown, unknown, unknown>;
type Optional = 'barrier' | 'schema' | 'signal' | 'site';

/** Options of a serving node with their defaults, checked. */
export type CheckedServeOptions = {
  readonly [Name in keyof Options]-?: Name extends Optional
    ? Options[Name]
    : Exclude<Options[Name], undefined>;
} & { readonly clock: Clock };

const SWEEP_MS = 5_000;
const SWEEP_MS_MIN = 10;
const CONCURRENCY = 16;
const PREPARED_MAX = 1_000;
const ATTEMPTS = 5;
const ATTEMPTS_MAX = 60;

/** Checks the options of a serving node. @throws TypeError (INVALID_ARGUMENT) */
export function checkServeOptions(options: Options): CheckedServeOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, '{ store, name, handlers }');
  }
  const { clock = systemClock, random = systemRandom, namespace = 'default' } = options;
  const { store, name, handlers, barrier, schema, signal, participants = [], site } = options;
  const { nodeId = defaultNodeId(random), concurrency = CONCURRENCY } = options;
  const { preparedMax = PREPARED_MAX, attemptsMax = ATTEMPTS, sweepMs = SWEEP_MS } = options;
  assertLog('store', store);
  assertServiceName(name);
  assertHandlers(options);
  assertParticipants(participants);
  assertNodeId(nodeId);
  assertNamespace(namespace);
  if (participants.some((each) => barrier !== undefined && each.name === name)) {
    const remedy = 'participants of other names: this one is that of the barrier';
    throw invalidArgument('participants', name, remedy);
  }
  assertNumber('concurrency', concurrency, { min: 1, max: 1_000, integer: true });
  assertNumber('preparedMax', preparedMax, { min: 1, integer: true });
  assertNumber('attemptsMax', attemptsMax, { min: 1, max: ATTEMPTS_MAX, integer: true });
  assertNumber('sweepMs', sweepMs, { min: SWEEP_MS_MIN, max: Number.POSITIVE_INFINITY });
  assertSignal(signal);
  if (site !== undefined) assertSite(site, namespace);
  const names = { store, name, handlers, barrier, schema, signal, participants, nodeId, site };
  return { ...names, namespace, concurrency, preparedMax, attemptsMax, sweepMs, clock, random };
}

function assertHandlers({ handlers, barrier }: Options): void {
  if (typeof handlers?.prepare !== 'function') {
    throw invalidArgument('handlers.prepare', handlers?.prepare, 'a function');
  }
  for (const verb of ['commit', 'abort'] as const) {
    const handler = handlers[verb];
    const isNeeded = barrier !== undefined || handler !== undefined;
    if (isNeeded && typeof handler !== 'function') {
      throw invalidArgument(`handlers.${verb}`, handler, 'a function: a barrier needs all three');
    }
  }
  if (handlers.commit !== undefined && typeof barrier?.pass !== 'function') {
    const remedy = 'a barrier for commit and abort, such as postgresBarrier({ pool })';
    throw invalidArgument('barrier', barrier, remedy);
  }
}
