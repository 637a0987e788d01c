import { randomFillSync, randomInt } from 'node:crypto';

/** The only source of chance in tricord. Production uses {@link systemRandom}; tests pass a seed. */
export interface Random {
  /** A number in [0, 1). */
  fraction(): number;
  /** `length` characters of `[A-Za-z0-9_-]`, six bits of chance each. */
  token(length: number): string;
}

/** The 64 characters of tokens, in ASCII order, so that a number written with them sorts as text. */
export const TOKEN_ALPHABET = '-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz';

const FRACTION_STEPS = 2 ** 32;
const POOL_BYTES = 4_096;

/** Cryptographically strong chance. */
export const systemRandom: Random = {
  fraction: () => randomInt(FRACTION_STEPS) / FRACTION_STEPS,
  token: strongTokens(),
};

/** Tokens from a pool of random bytes, because asking for a few costs as much as for thousands. */
function strongTokens(): Random['token'] {
  let pool: Buffer | undefined;
  let used = POOL_BYTES;
  return (length) => {
    const byteCount = Math.ceil((length * 6) / 8);
    if (byteCount > POOL_BYTES)
      return randomFillSync(Buffer.alloc(byteCount)).toString('base64url').slice(0, length);
    if (used + byteCount > POOL_BYTES) {
      pool = randomFillSync(pool ?? Buffer.alloc(POOL_BYTES));
      used = 0;
    }
    used += byteCount;
    // The alphabet of base64url is the same, in another order.
    return pool?.toString('base64url', used - byteCount, used).slice(0, length) ?? '';
  };
}

/**
 * Repeatable chance for tests: the same seed gives the same sequence (the generator mulberry32).
 * Not for anything that must be hard to guess.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / FRACTION_STEPS;
  };
  const character = (): string => TOKEN_ALPHABET[Math.floor(fraction() * 64)] ?? '-';
  return {
    fraction,
    token: (length) => Array.from({ length }, character).join(''),
  };
}
