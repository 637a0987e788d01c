import { callSessionCases } from './call-session-cases.js';
import { type CallSessionSubject, onCallStage } from './call-session-stage.js';
import type { ContractCase } from './contract.js';

/**
 * The contract of the calls of a store, `DecisionLog.openCalls`, as cases for any test runner: run
 * them against a real store.
 *
 * ```ts
 * for (const { name, run } of callSessionContract(subject)) test(name, run);
 * ```
 *
 * Each case uses a namespace of its own, so cases may run on one store and side by side.
 */
export function callSessionContract(subject: CallSessionSubject): readonly ContractCase[] {
  return callSessionCases.map(({ name, play }) => ({
    name,
    run: () => onCallStage(subject, play),
  }));
}
