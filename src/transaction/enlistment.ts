import {
  type AbortSource,
  abortable,
  abortableBy,
  type LazyAbort,
  throwIfAborted,
} from '../core/abort.js';
import { CoordinationError } from '../core/errors.js';
import type { TransactionId } from '../core/ids.js';
import { branchEndedError } from './branch-errors.js';
import type { CoordinatorHost, EnlistedBranch } from './host.js';
import type { Branch, BranchContext, Participant } from './participant.js';

/** The branches that the body of one transaction begins. */
export interface Enlistment {
  enlist<Handle>(participant: Participant<Handle>): Promise<Handle>;
  /** Whether every branch that was asked for has begun, or failed to. */
  readonly isSettled: boolean;
  /** Waits for branches that were asked for and not waited for. */
  settled(): Promise<void>;
  /** Refuses further branches. */
  close(): void;
}

/** No branch yet. `onBranch` is told of each one that began, also when it came too late. */
export function enlistment(
  host: Pick<CoordinatorHost, 'participants' | 'readiness' | 'clock'>,
  options: {
    readonly transactionId: TransactionId;
    /** Aborted with the transaction. */
    readonly source: LazyAbort | AbortSignal;
    readonly remainingMs: () => number;
    readonly onBranch: (branch: EnlistedBranch) => void;
    /** The id of the branch with this number, from 1 on. */
    readonly branchIdOf: (count: number) => string;
    /** Which function takes the participants. */
    readonly registry: string;
  },
): Enlistment {
  const { transactionId, source, remainingMs, onBranch, branchIdOf } = options;
  const begun = new Map<Participant<unknown>, Promise<Branch<unknown>>>();
  let branchCount = 0;
  let isClosed = false;

  let underWay = 0;

  const check = (participant: Participant<unknown>): Promise<void> =>
    abortable(host.readiness.checkParticipant(participant, signalOf(source)), source);
  const begin = async (participant: Participant<unknown>): Promise<Branch<unknown>> => {
    underWay += 1;
    try {
      if (!host.readiness.isChecked(participant)) await check(participant);
      branchCount += 1;
      const branchId = branchIdOf(branchCount);
      const timeoutMs = Math.max(remainingMs(), 1);
      const context: BranchContext = {
        transactionId,
        branchId,
        timeoutMs,
        get signal() {
          return signalOf(source);
        },
        clock: host.clock,
      };
      const beginning = (participant as FollowingParticipant).enlist(context, source);
      return await abortableBy(beginning, source, (branch) => {
        // Also one that nobody waits for any longer: whoever ends the transaction lets it go.
        onBranch({ participant, branch, branchId });
        return branch;
      });
    } finally {
      underWay -= 1;
    }
  };
  return {
    async enlist<Handle>(participant: Participant<Handle>): Promise<Handle> {
      assertRegistered(host, participant, options.registry);
      const known = begun.get(participant);
      // A handle that is there stays there; whether it still works is for it to say.
      if (known !== undefined) return (await known).handle as Handle;
      if (isClosed) throw branchEndedError(participant.name);
      throwIfAborted(source);
      const beginning = begin(participant);
      begun.set(participant, beginning);
      try {
        return (await beginning).handle as Handle;
      } catch (error) {
        begun.delete(participant);
        throw error;
      }
    },
    get isSettled() {
      return underWay === 0;
    },
    async settled() {
      while (true) {
        const before = begun.size;
        await Promise.allSettled(begun.values());
        if (begun.size <= before) return;
      }
    },
    close() {
      isClosed = true;
    },
  };
}

/** One of tricord's own listens to the source, so that nobody need make a signal of Node's. */
interface FollowingParticipant {
  enlist(context: BranchContext, source: AbortSource): Promise<Branch>;
}

function signalOf(source: LazyAbort | AbortSignal): AbortSignal {
  return 'signal' in source ? source.signal : source;
}

function assertRegistered(
  { participants }: Pick<CoordinatorHost, 'participants'>,
  participant: Participant,
  registry: string,
): void {
  const name = participant?.name;
  if (participants.get(name) === participant) return;
  const registered = Array.from(participants.keys());
  const fact = participants.has(name)
    ? `another participant is registered under the name "${name}"`
    : `participant "${name}" is not registered there`;
  throw new CoordinationError(
    'PARTICIPANT_UNKNOWN',
    `${fact}, so recovery could not finish its branches; pass the same object in ` +
      `${registry}({ participants }); it has ${registered.join(', ') || 'none'}`,
    { participant: String(name), registered },
  );
}
