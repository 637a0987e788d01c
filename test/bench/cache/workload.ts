// What the benches of the cache read and write.

import { median, type Variant } from '../lock/measure.js';
import { rate, ratio } from '../lock/report.js';

export const KEYS: readonly string[] = Array.from({ length: 1_000 }, (_, i) => `sku:${i}`);
export const keyAt = (i: number): string => KEYS[i % KEYS.length] ?? '';
export const TTL_MS = 600_000;

/** A product of 288 bytes as JSON. */
export const newProduct = (number: number) => ({
  ...{ name: 'Espresso machine', number: 1_000_000 + number, price: 249.9 },
  ...{ tags: ['kitchen', 'sale'], stock: { berlin: 4, lyon: 11 } },
  text: `${number}`.padEnd(162, 'x'),
});
export type Product = ReturnType<typeof newProduct>;
export const PRODUCT: Product = newProduct(7);

/** Calls one after the other, or so many in flight; answers how long that took. */
export function calls(
  times: number,
  inFlight: number,
  call: (i: number) => Promise<unknown>,
): () => Promise<number> {
  return async () => {
    const sinceMs = performance.now();
    if (inFlight === 1) for (let i = 0; i < times; i += 1) await call(i);
    else {
      for (let i = 0; i < times; i += inFlight) {
        await Promise.all(Array.from({ length: inFlight }, (_, j) => call(i + j)));
      }
    }
    return performance.now() - sinceMs;
  };
}

/** The rows of a table: each variant's rate, and its ratio to the first of its group. */
export function ratedRows(
  group: string,
  times: number,
  results: ReadonlyMap<string, readonly number[]>,
): string[][] {
  const [floor = []] = results.values();
  return Array.from(results, ([name, took]) => [
    group,
    name,
    rate((times / median(took)) * 1_000),
    ratio(median(floor) / median(took)),
  ]);
}

export const variant = (name: string, round: () => Promise<number>): Variant => [name, round];
