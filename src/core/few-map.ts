/** A rest of so few entries is not worth looking after. */
const DELETIONS_MIN = 16;

/**
 * A map, in the order of insertion, for entries that are few as a rule and come and go all the time:
 * with one entry it allocates nothing.
 *
 * Why not a Map alone: V8's leaves its table behind whenever deletions have filled it, here after every
 * few entries, and links each such table to the next. Once one of them has become old, all that follow
 * outlive every minor garbage collection, with all that they held last, until the next major one. So
 * what is beyond one entry moves to a new Map now and then, which no old table leads to.
 */
export class FewMap<Key extends NonNullable<unknown>, Value> {
  /** The oldest entry, unless it was deleted before others. */
  #key: Key | undefined;
  #value: Value | undefined;
  /** Those that were added while there were others. */
  #rest: Map<Key, Value> | undefined;
  #deletions = 0;

  get size(): number {
    const first = this.#key === undefined ? 0 : 1;
    return this.#rest === undefined ? first : first + this.#rest.size;
  }

  /** The oldest value. */
  get first(): Value | undefined {
    if (this.#key !== undefined || this.#rest === undefined) return this.#value;
    return this.#rest.values().next().value;
  }

  has(key: Key): boolean {
    return this.#key === key || this.#rest?.has(key) === true;
  }

  get(key: Key): Value | undefined {
    return this.#key === key ? this.#value : this.#rest?.get(key);
  }

  set(key: Key, value: Value): void {
    if (this.#rest === undefined && (this.#key === undefined || this.#key === key)) {
      this.#key = key;
      this.#value = value;
    } else if (this.#key === key) {
      this.#value = value;
    } else {
      this.#rest ??= new Map();
      this.#rest.set(key, value);
    }
  }

  /** False when it is not there. */
  delete(key: Key): boolean {
    if (this.#key === key) {
      this.#key = undefined;
      this.#value = undefined;
      return true;
    }
    if (this.#rest === undefined || !this.#rest.delete(key)) return false;
    this.#tidy(this.#rest);
    return true;
  }

  clear(): void {
    this.#key = undefined;
    this.#value = undefined;
    this.#rest = undefined;
    this.#deletions = 0;
  }

  /** The keys; of a change while they are walked through nothing is promised. */
  keys(): Iterable<Key> {
    if (this.#rest === undefined) return this.#key === undefined ? [] : [this.#key];
    return this.#key === undefined ? this.#rest.keys() : [this.#key, ...this.#rest.keys()];
  }

  /** The values, under the same proviso. */
  values(): Iterable<Value> {
    if (this.#rest === undefined) {
      return this.#key === undefined ? [] : [this.#value as Value];
    }
    return this.#key === undefined ? this.#rest.values() : this.#walk(this.#rest);
  }

  /** The values as they are now. */
  list(): readonly Value[] {
    if (this.#rest !== undefined) return Array.from(this.values());
    return this.#key === undefined ? [] : [this.#value as Value];
  }

  *#walk(rest: Map<Key, Value>): Iterable<Value> {
    yield this.#value as Value;
    yield* rest.values();
  }

  /** Both, under the same proviso. */
  *entries(): Iterable<[Key, Value]> {
    if (this.#key !== undefined) yield [this.#key, this.#value as Value];
    if (this.#rest !== undefined) yield* this.#rest.entries();
  }

  #tidy(rest: Map<Key, Value>): void {
    this.#deletions += 1;
    if (rest.size === 0) this.#rest = undefined;
    else if (this.#deletions > DELETIONS_MIN + 2 * rest.size) this.#rest = new Map(rest);
    else return;
    this.#deletions = 0;
  }
}

/** The same for items without values. */
export class FewSet<Item extends NonNullable<unknown>> extends FewMap<Item, Item> {
  add(item: Item): void {
    this.set(item, item);
  }
}
