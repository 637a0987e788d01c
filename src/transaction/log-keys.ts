import { createHash } from 'node:crypto';

/** For how long a key stays after its transaction was committed, in milliseconds. */
export const KEY_RETAIN_MS: number = 86_400_000;
/**
 * For how long a reservation stays that nobody confirmed or gave up: longer than any transaction may
 * take, so that a process that died in between leaves nothing behind for ever.
 */
export const KEY_RESERVE_MS: number = 2 * KEY_RETAIN_MS;

/** What a key is stored under: a text of 43 of `[A-Za-z0-9_-]`, whatever the key holds. */
export function keyDigest(key: string): string {
  return createHash('sha256').update(key).digest('base64url');
}
