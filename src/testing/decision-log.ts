import type { ContractCase } from './contract.js';
import { decisionCases } from './decision-log-decisions.js';
import { keyCases } from './decision-log-keys.js';
import { retentionCases } from './decision-log-retention.js';
import { type DecisionLogSubject, onDecisionLogStage } from './decision-log-stage.js';

/**
 * The contract of a `DecisionLog` as cases for any test runner: run them against a real
 * store.
 *
 * ```ts
 * for (const { name, run } of decisionLogContract(subject)) test(name, run);
 * ```
 *
 * Each case uses a namespace of its own, so cases may run on one store and side by side.
 */
export function decisionLogContract(subject: DecisionLogSubject): readonly ContractCase[] {
  const { unacknowledgedMax, isForgetful = false } = subject;
  return [...decisionCases, ...keyCases, ...retentionCases]
    .filter((each) => (each.isForgetful ?? false) === isForgetful)
    .filter(({ needsLimit }) => needsLimit !== true || unacknowledgedMax !== undefined)
    .map(({ name, play }) => ({ name, run: () => onDecisionLogStage(subject, play) }));
}
