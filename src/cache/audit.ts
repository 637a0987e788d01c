import { isDeepStrictEqual } from 'node:util';
import { sleep } from '../core/abort.js';
import type { Deck } from './deck.js';
import { type CacheInconsistentEvent, cacheInconsistent } from './diagnostics.js';
import type { LocalValue } from './driver.js';

/** Compares hits of this process's memory with the shared tier. */
export interface Auditor {
  /** A hit; some of them are looked into, in the background. */
  hit(key: string, local: LocalValue): void;
}

type Found = CacheInconsistentEvent['found'] | 'unknown' | undefined;

/** So many hits are looked into at once; others are let go. */
const RUNNING_MAX = 2;
/** News of a change may be on its way: only what stands after so long is told. */
const SECOND_LOOK_MS = 100;

/** An auditor of so large a part of all hits; it needs memory before a shared tier. */
export function auditor(
  deck: Pick<Deck, 'settings' | 'tiers' | 'gate' | 'refreshes'>,
  sample: number,
): Auditor {
  const { settings, tiers, gate, refreshes } = deck;
  const { authority, front } = tiers;
  const { clock, random, name, tierTimeoutMs } = settings;
  const { signal } = refreshes.ending;
  let runningCount = 0;

  /** What the shared tier has instead; undefined: the same, or nobody knows, or the copy has gone. */
  const otherThan = async (key: string, local: LocalValue): Promise<Found> => {
    const answer = await authority.read(key, tierTimeoutMs, false);
    if (answer.state === 'failed') return 'unknown';
    if (front?.store.get(key) !== local) return undefined;
    if (answer.state !== 'found') return 'nothing';
    const { value, isAbsent = false } = answer.local;
    const isSame = isAbsent === (local.isAbsent ?? false) && isDeepStrictEqual(value, local.value);
    return isSame ? undefined : 'another value';
  };
  const audit = async (key: string, local: LocalValue): Promise<void> => {
    let found = await otherThan(key, local);
    if (found === 'nothing' || found === 'another value') {
      await sleep(clock, SECOND_LOOK_MS, { signal });
      found = await otherThan(key, local);
    }
    if (front === undefined || found === 'unknown') return;
    const { counter } = front;
    counter.auditedCount += 1;
    if (found === undefined) return;
    counter.inconsistentCount += 1;
    const tier = counter.backend;
    cacheInconsistent.publish(() => ({ cache: name, tier, key, found }));
  };
  return {
    hit(key, local) {
      if (runningCount >= RUNNING_MAX || gate.isClosed || random.fraction() >= sample) return;
      runningCount += 1;
      gate
        .run(() => audit(key, local))
        .catch(() => {})
        .finally(() => {
          runningCount -= 1;
        });
    },
  };
}
