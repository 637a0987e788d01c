/** An entry in the line of {@link sieve}. */
export interface SieveNode {
  readonly key: string;
  /** Set on every hit; nothing moves. */
  isVisited: boolean;
  newer: SieveNode | undefined;
  older: SieveNode | undefined;
}

/** Who goes when there is no room: the order of entries, without the entries. */
export interface Sieve<Node extends SieveNode> {
  /** A new entry enters as the newest. */
  add(node: Node): void;
  remove(node: Node): void;
  /** The entry to give up next; undefined when there is none. The caller removes it. */
  victim(): Node | undefined;
  clear(): void;
}

/**
 * SIEVE (Zhang et al., SIEVE is Simpler than LRU, NSDI 2024): entries stand in the order of their
 * arrival, a hand walks from the oldest to the newest, forgives each visited entry once and stops at
 * the first that was not visited since. One pass forgives everybody, so a victim is found within two.
 *
 * It needs no move on a hit, and on skewed and scanning traces it keeps more than LRU does.
 */
export function sieve<Node extends SieveNode>(): Sieve<Node> {
  let newest: SieveNode | undefined;
  let oldest: SieveNode | undefined;
  let hand: SieveNode | undefined;

  return {
    add(node) {
      node.older = newest;
      if (newest !== undefined) newest.newer = node;
      newest = node;
      oldest ??= node;
    },
    remove(node) {
      if (hand === node) hand = node.newer;
      if (node.newer !== undefined) node.newer.older = node.older;
      else newest = node.older;
      if (node.older !== undefined) node.older.newer = node.newer;
      else oldest = node.newer;
      node.newer = undefined;
      node.older = undefined;
    },
    victim() {
      let node = hand ?? oldest;
      while (node?.isVisited) {
        node.isVisited = false;
        node = node.newer ?? oldest;
      }
      hand = node;
      return node as Node | undefined;
    },
    clear() {
      newest = undefined;
      oldest = undefined;
      hand = undefined;
    },
  };
}
