import { CACHE_BATCH_CASES } from './cache-cases-batches.js';
import {
  CACHE_CONSISTENCY_CASES,
  CACHE_TIERED_CONSISTENCY_CASES,
} from './cache-cases-consistency.js';
import { CACHE_ENGINE_CASES } from './cache-cases-engine.js';
import { CACHE_TAG_CASES } from './cache-cases-tags.js';
import { CACHE_TIER_CASES } from './cache-cases-tier.js';
import { type CacheDriverSubject, onCacheStage } from './cache-stage.js';
import type { ContractCase } from './contract.js';

/**
 * What every `CacheDriver` keeps, each case a sentence of the specification; and what a cache
 * over it then promises.
 *
 * The cases share the backend with whatever else uses it, and clear only caches of their own.
 */
export function cacheDriverContract(subject: CacheDriverSubject): ContractCase[] {
  const cases = [
    ...CACHE_TIER_CASES,
    ...CACHE_TAG_CASES,
    ...CACHE_BATCH_CASES,
    ...CACHE_ENGINE_CASES,
    ...CACHE_CONSISTENCY_CASES,
    ...(subject.near === undefined ? [] : CACHE_TIERED_CONSISTENCY_CASES),
  ];
  return cases.map(([name, play]) => ({ name, run: () => onCacheStage(subject, play) }));
}
