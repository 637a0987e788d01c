import { throwIfAborted } from '../../core/abort.js';
import { type Clock, elapsedMs, type Instant, instantOf, systemClock } from '../../core/clock.js';
import { assertNumber } from '../../core/validate.js';
import type { Barrier, BarrierPassage, BarrierStep } from '../../transaction/barrier.js';
import { type BarrierState, barrierMove } from '../../transaction/barrier-machine.js';

/** Options of {@link memoryBarrier}. */
export interface MemoryBarrierOptions {
  /** So many branches that ended are remembered. Default 10,000. */
  readonly endedMax?: number | undefined;
  /** Source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
}

interface Entry {
  readonly state: BarrierState;
  readonly payload: string;
  readonly since: Instant;
}

/**
 * A barrier in this process, for tests: it forgets with it. There is no local transaction that could
 * roll back what a function did, so the client is `undefined`, and a function that fails should have
 * done nothing. Steps of one branch follow each other.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed number.
 */
export function memoryBarrier(options: MemoryBarrierOptions = {}): Barrier<undefined> {
  const { endedMax = 10_000, clock = systemClock } = options;
  assertNumber('endedMax', endedMax, { min: 1, integer: true });
  const entries = new Map<string, Entry>();
  const ended = new Set<string>();
  const turns = new Map<string, Promise<unknown>>();
  const keyOf = (participant: string, branchId: string): string => `${participant} ${branchId}`;

  const conclude = (key: string): void => {
    ended.add(key);
    const [oldest] = ended;
    if (ended.size <= endedMax || oldest === undefined) return;
    ended.delete(oldest);
    entries.delete(oldest);
  };
  const move = async (key: string, step: BarrierStep<undefined>): Promise<BarrierPassage> => {
    throwIfAborted(step.signal);
    const found = entries.get(key);
    const { to, effects, answer } = barrierMove(found?.state, step.event);
    const payload = found?.payload ?? step.payload;
    for (const effect of effects) await step.perform(effect, undefined, payload);
    if (to !== undefined && to !== found?.state) {
      entries.set(key, { state: to, payload, since: instantOf(clock) });
      if (to !== 'prepared') conclude(key);
    }
    return { answer, state: to };
  };
  return {
    backend: 'memory',
    async pass(step) {
      const key = keyOf(step.participant, step.branchId);
      const before = turns.get(key) ?? Promise.resolve();
      const turn = before.catch(() => {}).then(() => move(key, step));
      turns.set(key, turn);
      try {
        return await turn;
      } finally {
        if (turns.get(key) === turn) turns.delete(key);
      }
    },
    async prepared(participant) {
      return Array.from(entries).flatMap(([key, { state, since }]) => {
        const [owner, branchId = ''] = key.split(' ');
        if (state !== 'prepared' || owner !== participant) return [];
        return [{ branchId, ageMs: elapsedMs(clock, since) }];
      });
    },
    state: async (participant, branchId) => entries.get(keyOf(participant, branchId))?.state,
    guarantees: async (participant) => ({
      subject: `memory ${participant}`,
      survives: 'none',
      promises: ['each function takes effect once while this process lives'],
      warnings: ['everything in it ends with this process'],
      settings: {},
    }),
    async close() {},
  };
}
