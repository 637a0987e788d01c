/**
 * One sentence of a driver's contract and the code that checks it, bound to no test runner:
 *
 * ```ts
 * for (const { name, run } of lockDriverContract(subject)) test(name, run);
 * ```
 */
export interface ContractCase {
  /** A sentence of the specification. */
  readonly name: string;
  /** Resolves when the driver keeps the sentence; rejects with an assertion error otherwise. */
  run(): Promise<void>;
}
