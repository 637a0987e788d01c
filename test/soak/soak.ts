/**
 * Something that is run again and again with different seeds until time or number is up.
 *
 * A file `<name>.ts` of this folder that exports `soak: Soak` can be run: `npm run soak -- <name> …`.
 */
export interface Soak {
  readonly name: string;
  /** One round. Throws where it could not be run at all; a violation is an answer. */
  run(round: Round): Promise<RoundResult>;
  /** The command that repeats a round, for whoever reads the failure. */
  command(round: Round): string;
}

export interface Round {
  readonly seed: number;
  /** What the command line says beyond the runner's own options, e.g. `--drivers redis --kill`. */
  readonly args: readonly string[];
  /** How long the whole run may still take; a round that lasts as long as it is told ends then. */
  readonly remainingMs: number;
}

export interface RoundResult {
  readonly isClean: boolean;
  /** A line: what was done, or what was violated. */
  readonly summary: string;
  /** Everything that helps to understand a violation. */
  readonly output?: string | undefined;
}
