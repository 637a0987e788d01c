import type { Clock } from '../../core/clock.js';

/**
 * Takes blocks of fencing tokens: each lies above all before it, of whatever resource, and above the
 * wall clock's microseconds, so that tokens also increase from one process to the next.
 */
export function tokenSource(clock: Clock): (count: number) => bigint {
  let newest = 0n;
  return (count) => {
    const microseconds = BigInt(Math.floor(clock.wallMs() * 1_000));
    const first = newest + 1n > microseconds ? newest + 1n : microseconds;
    newest = first + BigInt(count) - 1n;
    return first;
  };
}
