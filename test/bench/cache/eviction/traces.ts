// The requests that eviction policies are measured with: keys as numbers, made from a seed.

import { createPrng } from './prng.js';

/** A trace: which key is asked for, request after request. */
export interface Trace {
  readonly name: string;
  readonly keys: Uint32Array;
}

const DISTINCT = 100_000;
const SKEW = 0.9;
/** Keys of scans begin here, so that none of them is asked for twice. */
const SCAN_FROM = 1_000_000;

/** The traces, for a cache of `capacity` entries. */
export function traces(requestCount: number, capacity: number, seed: number): readonly Trace[] {
  const random = createPrng(seed);
  const zipf = zipfOf(DISTINCT, SKEW, random);
  const trace = (name: string, keyAt: (index: number) => number): Trace => ({
    name,
    keys: Uint32Array.from({ length: requestCount }, (_, index) => keyAt(index)),
  });
  let scanned = SCAN_FROM;
  // Now and then other keys become the popular ones.
  const shifting = (every: number): Trace =>
    trace(`shift each ${every.toLocaleString('en')}`, (index) => {
      const shift = Math.floor(index / every) * 10 * capacity;
      return shift + Math.floor(Math.abs(gaussian(random)) * capacity);
    });
  return [
    trace('Zipf 0.9', zipf),
    trace('Zipf 0.9 and 30 % scan', () => {
      if (random() >= 0.3) return zipf();
      scanned += 1;
      return scanned;
    }),
    shifting(capacity * 30),
    shifting(capacity * 100),
    trace('loop of 1.5 x capacity', (index) => index % (capacity * 1.5)),
  ];
}

/** Draws ranks from 0 by the inverse of the cumulated weights. */
function zipfOf(distinct: number, skew: number, random: () => number): () => number {
  const cumulated = new Float64Array(distinct);
  let sum = 0;
  for (let rank = 0; rank < distinct; rank += 1) {
    sum += (rank + 1) ** -skew;
    cumulated[rank] = sum;
  }
  return () => {
    const at = random() * sum;
    let [low, high] = [0, distinct - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulated[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
