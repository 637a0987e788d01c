import type { ContractCase } from './contract.js';
import { BACKEND_CASES } from './lock-cases-backend.js';
import { ENGINE_CASES } from './lock-cases-engine.js';
import { LEASE_CASES } from './lock-cases-lease.js';
import { MODE_CASES } from './lock-cases-modes.js';
import { OPERATOR_CASES } from './lock-cases-operator.js';
import { ORDER_CASES } from './lock-cases-order.js';
import { STORM_CASES } from './lock-cases-storm.js';
import { type LockDriverSubject, onStage, type StagedCase } from './lock-stage.js';

/**
 * The contract of a lock driver, as cases for any test runner. A driver that passes them against its
 * real backend keeps the promises of `Lock`.
 *
 * ```ts
 * const subject = { open: () => ({ driver: myLock({ client }) }), resourcePrefix: `run-${Date.now()}-` };
 * for (const { name, run } of lockDriverContract(subject)) test(name, run);
 * ```
 *
 * The cases use real time: those of expiry take about twice `settings.ttlMs` each. Each opens nodes
 * of its own and closes them.
 */
export function lockDriverContract(subject: LockDriverSubject): readonly ContractCase[] {
  const { modes } = subject;
  const cases = CASES.filter(
    ([, , needs]) => needs === undefined || (modes?.includes(needs) ?? true),
  );
  return cases.map(([name, play]) => ({
    name,
    run: () => onStage(subject, play),
  }));
}

const CASES: readonly StagedCase[] = [
  ...ORDER_CASES,
  ...LEASE_CASES,
  ...MODE_CASES,
  ...OPERATOR_CASES,
  ...BACKEND_CASES,
  ...STORM_CASES,
  ...ENGINE_CASES,
];
