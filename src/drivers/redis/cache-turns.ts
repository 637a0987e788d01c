import type { Clock } from '../../core/clock.js';
import { deadlines } from '../../core/deadlines.js';
import { unknown } from './errors.js';

interface Waiting<Item, Reply> {
  readonly item: Item;
  readonly timeoutMs: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
}

/** So many questions go together at most, and so many characters of what they carry. */
const SIZE_MAX = 500;
const CHARACTERS_MAX = 256 * 1_024;

/** What has so much of the longest time waits as long: what is left of it differs by a moment. */
const NEARLY = 0.995;

/**
 * Asks together what is asked in one turn of the event loop; each question within its own time.
 * `send` answers in the order of the items.
 */
export function turnCalls<Item, Reply>(
  clock: Clock,
  operation: string,
  send: (items: readonly Item[], timeoutMs: number) => Promise<readonly Reply[]>,
  charactersOf: (item: Item) => number = () => 0,
): (item: Item, timeoutMs: number) => Promise<Reply> {
  const times = deadlines(clock);
  let open: Waiting<Item, Reply>[] = [];
  let characters = 0;

  /** Whose time is shorter than that of all together does not wait for them. */
  const letGoOf = (one: Waiting<Item, Reply>): (() => void) =>
    times.after(one.timeoutMs, () =>
      one.reject(unknown(operation, `no answer within ${one.timeoutMs} ms`)),
    );
  const flush = (): void => {
    const batch = open;
    open = [];
    characters = 0;
    const timeoutMs = batch.reduce((longest, one) => Math.max(longest, one.timeoutMs), 0);
    const shorter = batch.filter((one) => one.timeoutMs < timeoutMs * NEARLY).map(letGoOf);
    const settle = (each: (one: Waiting<Item, Reply>, index: number) => void): void => {
      for (const letGo of shorter) letGo();
      batch.forEach(each);
    };
    send(
      batch.map(({ item }) => item),
      timeoutMs,
    ).then(
      (replies) => settle((one, index) => one.resolve(replies[index] as Reply)),
      (error) => settle((one) => one.reject(error)),
    );
  };
  return (item, timeoutMs) =>
    new Promise((resolve, reject) => {
      // After the microtasks of this turn: what they ask goes along.
      if (open.length === 0) process.nextTick(() => open.length > 0 && flush());
      open.push({ item, timeoutMs, resolve, reject });
      characters += charactersOf(item);
      if (open.length === SIZE_MAX || characters >= CHARACTERS_MAX) flush();
    });
}
