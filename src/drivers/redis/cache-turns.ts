import type { Clock } from '../../core/clock.js';
import { deadlines } from '../../core/deadlines.js';
import { unknown } from './errors.js';

/** What is asked together, and how. */
export interface TurnCallsOptions<Item, Found, Reply> {
  readonly clock: Clock;
  readonly operation: string;
  /** Answers in the order of the items. */
  readonly send: (items: readonly Item[], timeoutMs: number) => Promise<readonly Found[]>;
  /** What an answer says to who asked; what it throws is told to him alone. */
  readonly finish: (found: Found, item: Item) => Reply;
  /** Whether an item may go with those that another one begins. Default always. */
  readonly isAlike?: (first: Item, item: Item) => boolean;
  /** How many characters an item carries. Default none. */
  readonly charactersOf?: (item: Item) => number;
  /** So many items go together at most; default 500. */
  readonly sizeMax?: number;
}

interface Waiting<Item, Reply> {
  readonly item: Item;
  readonly timeoutMs: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
}

const SIZE_MAX_DEFAULT = 500;
/** So many characters of what they carry go together at most. */
const CHARACTERS_MAX = 256 * 1_024;

/** What has so much of the longest time waits as long: what is left of it differs by a moment. */
const NEARLY = 0.995;

/** Asks together what is asked in one turn of the event loop; each question within its own time. */
export function turnCalls<Item, Found, Reply>(
  options: TurnCallsOptions<Item, Found, Reply>,
): (item: Item, timeoutMs: number) => Promise<Reply> {
  const { clock, operation, send, isAlike, charactersOf, sizeMax = SIZE_MAX_DEFAULT } = options;
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
    let timeoutMs = 0;
    for (const one of batch) if (one.timeoutMs > timeoutMs) timeoutMs = one.timeoutMs;
    const shorter = batch.filter((one) => one.timeoutMs < timeoutMs * NEARLY).map(letGoOf);
    send(
      batch.map(({ item }) => item),
      timeoutMs,
    ).then(
      (found) => {
        for (const letGo of shorter) letGo();
        for (const [index, one] of batch.entries()) settle(options, one, found[index] as Found);
      },
      (error) => {
        for (const letGo of shorter) letGo();
        for (const one of batch) one.reject(error);
      },
    );
  };
  const flushOpen = (): void => {
    if (open.length > 0) flush();
  };
  return (item, timeoutMs) =>
    new Promise((resolve, reject) => {
      const [first] = open;
      if (first !== undefined && isAlike?.(first.item, item) === false) flush();
      // After the microtasks of this turn: what they ask goes along.
      if (open.length === 0) process.nextTick(flushOpen);
      open.push({ item, timeoutMs, resolve, reject });
      if (charactersOf !== undefined) characters += charactersOf(item);
      if (open.length === sizeMax || characters >= CHARACTERS_MAX) flush();
    });
}

function settle<Item, Found, Reply>(
  { finish }: TurnCallsOptions<Item, Found, Reply>,
  { item, resolve, reject }: Waiting<Item, Reply>,
  found: Found,
): void {
  try {
    resolve(finish(found, item));
  } catch (error) {
    reject(error);
  }
}
