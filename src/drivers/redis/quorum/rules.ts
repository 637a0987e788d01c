/**
 * What a client of a quorum lock concludes from the answers of the nodes. Pure, and the same code in
 * production and in the exhaustive test of the protocol (test/unit/redis-quorum-model.test.ts).
 *
 * The lock is Redlock's (S. Sanfilippo, "Distributed locks with Redis"), with a fencing token by the
 * two phases of a majority register (Attiya, Bar-Noy, Dolev, "Sharing memory robustly in
 * message-passing systems", 1995): read the highest from a majority, write one more to a majority.
 */

/** How one node answered to a vote; undefined while it has not. */
export type Vote =
  /** The vote, with the newest token that the node knows of. */
  | { readonly kind: 'yes'; readonly proposal: bigint }
  /** Somebody else has it, or it is not the node's turn to give it. */
  | { readonly kind: 'no' }
  /** It lost its state, and takes no part. */
  | { readonly kind: 'away' }
  /** No answer, or an error. */
  | { readonly kind: 'silent' };

/** What to do after an answer. */
export type Verdict<Success> =
  | Success
  /** A majority cannot come together any more. */
  | { readonly state: 'failed' }
  /** Wait for further answers. */
  | { readonly state: 'open' };

/** How many of so many nodes are a majority. */
export function majorityOf(nodeCount: number): number {
  return Math.floor(nodeCount / 2) + 1;
}

/** Phase one: with the votes of a majority, the token is one more than the newest that they know of. */
export function judgeVotes(
  votes: readonly (Vote | undefined)[],
): Verdict<{ readonly state: 'won'; readonly token: bigint }> {
  const given = votes.filter((vote) => vote?.kind === 'yes');
  const majority = majorityOf(votes.length);
  if (given.length >= majority) {
    const newest = highestOf(given.map(({ proposal }) => proposal));
    return { state: 'won', token: newest + 1n };
  }
  return canReach(majority, given.length, votes) ? { state: 'open' } : { state: 'failed' };
}

/** Phase two, and every renewal: whether a majority holds. A node where the id does not hold says no. */
export function judgeHolds(
  holds: readonly (boolean | undefined)[],
): Verdict<{ readonly state: 'won' }> {
  const count = holds.filter((held) => held === true).length;
  const majority = majorityOf(holds.length);
  if (count >= majority) return { state: 'won' };
  return canReach(majority, count, holds) ? { state: 'open' } : { state: 'failed' };
}

/** A node that takes no part, as it told when it was read. */
export interface Absence {
  /**
   * `blank`: it never had a marker. `ready`: it was blank, and somebody has seen that all nodes were.
   * `back`: it has a marker of an earlier life.
   */
  readonly kind: 'blank' | 'ready' | 'back';
  /** Of this life of the node's state; if it loses its state again, it has another one. */
  readonly nonce: string;
}

/**
 * Whether blank nodes may be made ready: all were read twice, one reading after the other, and all
 * were blank with the same nonces. Then all were blank at one moment in between.
 */
export function mayMakeReady(
  first: readonly (Absence | undefined)[],
  second: readonly (Absence | undefined)[],
): boolean {
  return second.every((now, index) => {
    const before = first[index];
    return now?.kind === 'blank' && before?.kind === 'blank' && now.nonce === before.nonce;
  });
}

/**
 * Whether ready nodes may begin: all nodes answered, and each is ready or in service. So a node that
 * has ever voted leaves no moment at which all nodes are blank, unless all of them lose their state:
 * without this step a first vote can be lost with its node, and the node be begun again.
 */
export function mayStart(nodes: readonly (Absence | 'in service' | undefined)[]): boolean {
  return nodes.every((node) => node === 'in service' || (node && node.kind === 'ready'));
}

function canReach(majority: number, count: number, answers: readonly unknown[]): boolean {
  const open = answers.filter((answer) => answer === undefined).length;
  return count + open >= majority;
}

/** The highest of tokens or times; 0 of none. */
export function highestOf(values: readonly bigint[]): bigint {
  let highest = 0n;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}
