// What the lock's benches measure with.

/** The value below which this share of the values lies. */
export const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((one, other) => one - other)[Math.floor((values.length - 1) * share)] ??
  Number.NaN;

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** How far the middle half of the values lies apart, as a share of the median. */
export const spread = (values: readonly number[]): number =>
  (quantile(values, 0.75) - quantile(values, 0.25)) / median(values);

/** 1 when all got the same, 1/n when one got everything (Jain, Chiu and Hawe, 1984). */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return squares === 0 ? Number.NaN : (sum * sum) / (shares.length * squares);
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

export async function repeated(
  times: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  for (let index = 0; index < times; index += 1) await work(index);
}

/** What a row's work takes, in milliseconds; called once a round. */
export type Variant = readonly [name: string, round: () => Promise<number>];

/**
 * Runs the variants in turn, round after round, so that a busy machine is unkind to all alike. The
 * first round of each only warms up.
 */
export async function interleaved(
  rounds: number,
  variants: readonly Variant[],
): Promise<Map<string, number[]>> {
  const results = new Map(variants.map(([name]) => [name, [] as number[]]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, play] of variants) {
      const took = await play();
      if (round > 0) results.get(name)?.push(took);
    }
  }
  return results;
}

/** The promise's value, or undefined after so long. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
