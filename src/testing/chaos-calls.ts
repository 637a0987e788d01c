import type { SharedCacheDriver, SharedTier } from '../cache/driver.js';
import type { DecisionLog, DecisionLogSession } from '../transaction/decision-log.js';
import type { Branch, Participant } from '../transaction/participant.js';
import type { Weather } from './chaos-weather.js';

type Method = (...values: unknown[]) => Promise<unknown>;

/** What chaos does to a method: whether it may be sent twice, and how a lost answer is undone. */
interface Exposure {
  readonly isRepeatable: boolean;
  undo?(answer: unknown): void;
  /** Makes something of an answer that arrives. */
  dress?(answer: unknown): unknown;
}

const REPEATABLE: Exposure = { isRepeatable: true };

/** The same object, of which some methods pass through the weather. */
function exposed<T extends object>(
  target: T,
  weather: Weather,
  backend: string,
  exposures: Readonly<Record<string, Exposure>>,
): T {
  return new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property, object);
      if (typeof value !== 'function') return value;
      const method = value.bind(object) as Method;
      const exposure = typeof property === 'string' ? exposures[property] : undefined;
      if (exposure === undefined) return method;
      return async (...values: unknown[]): Promise<unknown> => {
        const { signal, timeoutMs } = (values.at(-1) ?? {}) as {
          readonly signal?: AbortSignal | undefined;
          readonly timeoutMs?: number | undefined;
        };
        const answer = await weather.pass({
          backend,
          operation: String(property),
          send: () => method(...values),
          signal: () => (signal instanceof AbortSignal ? signal : undefined),
          // A call that promises to settle in time is held back for a part of it.
          delayMsMax: timeoutMs === undefined ? undefined : timeoutMs / 4,
          ...exposure,
        });
        return exposure.dress === undefined ? answer : exposure.dress(answer);
      };
    },
  });
}

const all = (names: readonly string[]): Record<string, Exposure> =>
  Object.fromEntries(names.map((name) => [name, REPEATABLE]));

const LOG = all([
  ...['register', 'decide', 'acknowledge', 'fence', 'find', 'incarnations', 'unacknowledged'],
  'prune',
]);

/** A call that is taken twice is claimed twice, and the second claim is found by a sweep. */
const CALLS = all(['create', 'bury', 'read', 'replace', 'remove', 'list', 'servers', 'nowMs']);

/** A decision log in this weather, with the calls that it carries. */
export function stormyLog(log: DecisionLog, weather: Weather): DecisionLog {
  const { backend, authority } = log;
  const open = (node: Parameters<DecisionLog['open']>[0]): DecisionLogSession =>
    exposed(log.open(node), weather, backend, LOG);
  const { openCalls } = log;
  if (openCalls === undefined) return { backend, authority, open };
  return {
    backend,
    authority,
    open,
    openCalls: (node) => exposed(openCalls(node), weather, backend, CALLS),
  };
}

const PARTICIPANT = all(['commit', 'abort', 'recover', 'outcome']);
const ONCE: Exposure = { isRepeatable: false };
const BRANCH = { prepare: ONCE, commit: ONCE, abort: ONCE, commitOnePhase: ONCE };

/** A participant in this weather, with the branches that come out of it. */
export function stormyParticipant<T extends Participant<unknown>>(
  participant: T,
  weather: Weather,
): T {
  const { backend } = participant;
  const enlist: Exposure = {
    isRepeatable: false,
    // Nobody knows this branch: its coordinator takes it for one that never began.
    undo: (branch) => void (branch as Branch).abort().catch(() => {}),
    dress: (branch) => exposed(branch as Branch, weather, backend, BRANCH),
  };
  return exposed(participant, weather, backend, { ...PARTICIPANT, enlist });
}

const TIER = all([
  ...['read', 'lease', 'renew', 'fill', 'release', 'seize', 'hold', 'invalidate', 'clear'],
]);

/** A shared cache driver in this weather. */
export function stormyCache(driver: SharedCacheDriver, weather: Weather): SharedCacheDriver {
  const { backend, scope } = driver;
  const open = (node: Parameters<SharedCacheDriver['open']>[0]): SharedTier =>
    exposed(driver.open(node), weather, backend, TIER);
  return { backend, scope, open };
}
