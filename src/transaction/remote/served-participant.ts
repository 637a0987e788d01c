import type { Participant } from '../participant.js';

/** A resource of a service, under the name that it has in commit records: `‹service›/‹name›`. */
export function servedParticipant(service: string, participant: Participant): Participant {
  const { backend, name } = participant;
  const conflict = participant.isConflict?.bind(participant);
  return {
    name: `${service}/${name}`,
    backend,
    enlist: (context) => participant.enlist(context),
    commit: (branch, options) => participant.commit(branch, options),
    abort: (branch, options) => participant.abort(branch, options),
    recover: (options) => participant.recover(options),
    outcome: (branch, options) => participant.outcome(branch, options),
    guarantees: (options) => participant.guarantees(options),
    close: () => participant.close(),
    ...(conflict !== undefined && { isConflict: conflict }),
  };
}
