import type { CommitRecord, RunWithin, WithinAnswer } from './decision-log.js';
import { type EnlistedBranch, reasonOf } from './host.js';
import type { LastResourceOutcome } from './participant.js';
import type { Running } from './protocol.js';
import {
  type DecidedEvent,
  decisiveCall,
  FENCED,
  isNextAttemptDue,
  publishFailure,
  recordOf,
} from './protocol-calls.js';
import type { AbortCause } from './two-phase.js';

const NO_LAST_RESOURCE = 'cannot commit with a decision inside, so it cannot be the last resource';

/** The decision as the last resource's own commit. It is tried once: a second try proves nothing. */
export async function commitLast(
  running: Running,
  index: number,
  record: CommitRecord,
): Promise<DecidedEvent> {
  const { host, branches, subject } = running;
  const { branch, participant } = branches[index] as EnlistedBranch;
  const { name } = participant;
  const decided = (answer: DecidedEvent['answer'], cause: AbortCause): DecidedEvent => {
    return { type: 'decided', answer, cause };
  };
  const decide = (run: RunWithin): Promise<WithinAnswer> =>
    host.session.decideWithin?.(subject.incarnation, record, run) ?? Promise.resolve('elsewhere');
  if (branch.commitLast === undefined) {
    return decided('aborted', { by: 'log', reason: `participant "${name}" ${NO_LAST_RESOURCE}` });
  }
  let outcome: LastResourceOutcome;
  try {
    outcome = await decisiveCall(
      running,
      async (signal) => (await branch.commitLast?.(decide, { signal })) as LastResourceOutcome,
    );
  } catch (cause) {
    publishFailure(running, 'commit of the last resource', cause);
    return decided('lost', { by: 'log', reason: reasonOf(cause), cause });
  }
  if (outcome.state === 'committed') return decided('committed', { by: 'log', reason: '' });
  const { cause } = outcome;
  if (outcome.state === 'unknown') {
    const blame = { by: 'participant', participant: name, reason: 'no reply', cause } as const;
    return { ...decided('lost', blame), evidence: outcome.evidence };
  }
  const { reason, answer } = outcome;
  if (answer === 'fenced') return decided('aborted', { by: 'fence', reason: FENCED, cause });
  if (answer === undefined) {
    return decided('aborted', { by: 'participant', participant: name, reason, cause });
  }
  return decided('aborted', { by: 'log', reason, cause });
}

/** After a lost reply of the last resource. */
export async function settle(running: Running): Promise<void> {
  const { host, subject, state } = running;
  if (!(await isNextAttemptDue(running))) return;
  const { cause = { by: 'log', reason: 'the decision was not recorded' } } = state;
  try {
    const answer = await decisiveCall(running, async (signal) =>
      host.session.settle?.(subject.incarnation, recordOf(running), { signal }),
    );
    running.happen({ type: 'decided', answer: answer ?? 'lost', cause });
  } catch (error) {
    publishFailure(running, 'settle', error);
    running.happen({ type: 'decided', answer: 'lost', cause });
  }
}
