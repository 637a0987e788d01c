/**
 * The worst event after which what was acknowledged is still there, from weakest to strongest:
 * nothing at all, the crash of the server's process, the loss of power on its machine, and the loss
 * of the machine with a fail-over to another.
 */
export type GuaranteeLevel = 'none' | 'process' | 'power-loss' | 'failover';

/** From weakest to strongest. */
export const GUARANTEE_LEVELS: readonly GuaranteeLevel[] = [
  'none',
  'process',
  'power-loss',
  'failover',
];

/** What a backend, as it is configured right now, promises. Read from the live server. */
export interface Guarantees {
  /** Which part it is about, for example `redis` or `postgres orders`. */
  readonly subject: string;
  /** The worst event that acknowledged state survives. What could not be read counts as not given. */
  readonly survives: GuaranteeLevel;
  /** What is promised, one sentence each. */
  readonly promises: readonly string[];
  /** What is not promised or looks wrong, one sentence each, with the setting to change. */
  readonly warnings: readonly string[];
  /**
   * Settings that break what is promised outright, one sentence each with the setting to change. A
   * coordinator refuses to start on them with GUARANTEE_REFUSED unless it was given `acceptRisk`.
   */
  readonly refusals?: readonly string[] | undefined;
  /** The settings that were read, by name; `unknown` where the server did not let us look. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Whether a level is at least as strong as another. */
export function guaranteeAtLeast(given: GuaranteeLevel, required: GuaranteeLevel): boolean {
  return GUARANTEE_LEVELS.indexOf(given) >= GUARANTEE_LEVELS.indexOf(required);
}

/** The weaker of several levels: a chain promises what its weakest part does. */
export function weakestGuarantee(levels: readonly GuaranteeLevel[]): GuaranteeLevel {
  const ranks = levels.map((level) => GUARANTEE_LEVELS.indexOf(level));
  return GUARANTEE_LEVELS[Math.min(...ranks)] ?? 'none';
}
