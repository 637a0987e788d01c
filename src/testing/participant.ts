import type { ContractCase } from './contract.js';
import { branchCases } from './participant-branch.js';
import { recoveryCases } from './participant-recovery.js';
import { onParticipantStage, type ParticipantSubject } from './participant-stage.js';

/**
 * The contract of a `Participant` as cases for any test runner: run them against a real
 * resource.
 *
 * ```ts
 * for (const { name, run } of participantContract(subject)) test(name, run);
 * ```
 *
 * Each case uses keys of its own, so cases may run on one resource and side by side.
 */
export function participantContract<Handle>(
  subject: ParticipantSubject<Handle>,
): readonly ContractCase[] {
  return [...branchCases<Handle>(), ...recoveryCases<Handle>()]
    .filter(({ needs }) => needs === undefined || Boolean(subject[needs]))
    .map(({ name, play }) => ({ name, run: () => onParticipantStage(subject, play) }));
}
