import type { LocalValue } from './driver.js';

/**
 * What texts of a shared tier said, of which nobody can change a thing: the same text of a key says
 * the same again. Most hits of a shared tier are of few keys that seldom change, and to compare a text
 * costs a fiftieth of parsing it.
 */
export interface Decoded {
  /** What exactly this text said; undefined where it is not known any more. */
  get(key: string, text: string): LocalValue | undefined;
  put(key: string, text: string, local: LocalValue): void;
  /** Nothing is remembered any more. */
  forget(): void;
}

/** So many texts, and so many of their characters, are remembered at most, and at least half as many. */
const TEXTS_MAX = 4_096;
const CHARACTERS_MAX = 2 * 1_024 * 1_024;
/** A longer text would push out too many others. */
const TEXT_CHARACTERS_MAX = CHARACTERS_MAX / 128;

interface Known {
  readonly text: string;
  readonly local: LocalValue;
}

/** Nothing is remembered yet. Two maps, of which the older one goes as a whole: no entry has an age. */
export function decoded(): Decoded {
  let recent = new Map<string, Known>();
  let older = new Map<string, Known>();
  let characters = 0;

  const add = (key: string, known: Known): void => {
    const isFull = recent.size >= TEXTS_MAX / 2 || characters >= CHARACTERS_MAX / 2;
    if (isFull) {
      older = recent;
      recent = new Map();
      characters = 0;
    }
    recent.set(key, known);
    characters += known.text.length;
  };
  return {
    get(key, text) {
      const known = recent.get(key);
      if (known !== undefined) return known.text === text ? known.local : undefined;
      const old = older.get(key);
      if (old?.text !== text) return undefined;
      add(key, old);
      return old.local;
    },
    put(key, text, local) {
      if (text.length <= TEXT_CHARACTERS_MAX) add(key, { text, local });
    },
    forget() {
      recent = new Map();
      older = new Map();
      characters = 0;
    },
  };
}
