import { isCoordinationError } from '../../core/errors.js';
import { branchAbortedError, contradictedError } from '../../transaction/branch-errors.js';
import type {
  Branch,
  BranchContext,
  OnePhaseOutcome,
  ParticipantCallOptions,
  Vote,
} from '../../transaction/participant.js';
import { assertNotStale } from './fence-script.js';
import { branchUnknownError, participantFull } from './participant-errors.js';
import { type Intent, type RedisBranch, redisWork } from './participant-intents.js';
import type { ParticipantStore, PrepareReply } from './participant-store.js';

/** Settings of a participant that its branches need. */
export interface BranchSettings {
  readonly name: string;
  readonly preparedMax: number;
}

/** Nothing was sent; a prepare was, and may be there; or nothing of it is left. */
type Phase = 'working' | 'asked' | 'over';

/** One branch in the process that began it. */
export function redisBranch(
  store: ParticipantStore,
  settings: BranchSettings,
  { branchId, signal }: BranchContext,
): Branch<RedisBranch> {
  const { name } = settings;
  const work = redisWork(store, name, signal);
  let phase: Phase = 'working';
  let intents: readonly Intent[] = [];
  const ask = async (
    how: 'prepare' | 'commit',
    options: ParticipantCallOptions | undefined,
  ): Promise<PrepareReply> => {
    work.end();
    if (phase === 'over') return { status: 'aborted' };
    intents = work.intents();
    if (intents.length === 0) {
      phase = 'over';
      return { status: 'read-only' };
    }
    phase = 'asked';
    const reply = await store.prepare(branchId, intents, { phase: how, signal: options?.signal });
    if (reply.status !== 'yes') phase = 'over';
    return reply;
  };
  return {
    handle: work.handle,
    prepare: async (options) => voteOf(settings, await ask('prepare', options), intents),
    async commit(options) {
      const signal = options?.signal;
      const found = await store.end('commit', branchId, { intents, signal });
      assertCommitted(name, branchId, found);
      phase = 'over';
    },
    async abort(options) {
      work.end();
      // Without a prepare there is nothing to undo, and none of this branch can come later.
      const isAsked = phase === 'asked';
      if (phase === 'working') phase = 'over';
      if (!isAsked) return;
      const signal = options?.signal;
      const found = await store.end('abort', branchId, { intents, signal });
      assertAborted(name, branchId, found);
      phase = 'over';
    },
    async commitOnePhase(options) {
      try {
        return onePhaseOf(settings, await ask('commit', options), intents);
      } catch (cause) {
        return onePhaseFailed(cause);
      }
    },
  };
}

/** Rejects unless a branch that was to be committed is. */
export function assertCommitted(
  name: string,
  branchId: string,
  found: 'committed' | 'aborted' | 'unknown',
): void {
  if (found === 'aborted') throw branchAbortedError(name, branchId);
  if (found === 'unknown') throw branchUnknownError(name, branchId);
}

/** Rejects when a branch that was to be rolled back was committed before. */
export function assertAborted(
  name: string,
  branchId: string,
  found: 'committed' | 'aborted' | 'unknown',
): void {
  if (found === 'committed') {
    throw contradictedError({ participant: name, branchId, wanted: 'aborted', found });
  }
}

function voteOf(settings: BranchSettings, reply: PrepareReply, intents: readonly Intent[]): Vote {
  switch (reply.status) {
    case 'yes':
      return { vote: 'yes', evidence: '' };
    case 'read-only':
      return { vote: 'read-only' };
    case 'no':
      return { vote: 'no', ...refusalOf(settings, reply, intents) };
    case 'aborted':
    case 'committed':
      return { vote: 'no', reason: `the branch was ${reply.status} before` };
  }
}

function onePhaseOf(
  settings: BranchSettings,
  reply: PrepareReply,
  intents: readonly Intent[],
): OnePhaseOutcome {
  if (reply.status === 'no') return { state: 'aborted', ...refusalOf(settings, reply, intents) };
  if (reply.status === 'aborted') {
    return { state: 'aborted', reason: 'the branch was aborted before' };
  }
  if (reply.status !== 'yes') return { state: 'committed' };
  const cause = new Error('the branch was prepared before; commit or abort it');
  return { state: 'unknown', evidence: '', cause };
}

/** Only an error that says that the script was not run is an answer. */
function onePhaseFailed(cause: unknown): OnePhaseOutcome {
  const isRefused =
    isCoordinationError(cause, 'BACKEND_UNAVAILABLE') ||
    isCoordinationError(cause, 'BACKEND_UNSUPPORTED') ||
    isCoordinationError(cause, 'UPGRADE_NEEDED');
  if (!isRefused) return { state: 'unknown', evidence: '', cause };
  return { state: 'aborted', reason: cause.message, cause };
}

function refusalOf(
  { name, preparedMax }: BranchSettings,
  { key, why }: { readonly key: string; readonly why: string },
  intents: readonly Intent[],
): { readonly reason: string; readonly cause?: unknown } {
  const stale = staleError(
    why,
    intents.find((intent) => intent.key === key),
  );
  if (stale !== undefined) return { reason: stale.message, cause: stale };
  if (key !== '') return { reason: `"${key}": ${why}` };
  return { reason: why, cause: participantFull(name, preparedMax) };
}

/** The refusal of a fence, whose reason is the token that is stored. */
function staleError(why: string, intent: Intent | undefined): Error | undefined {
  const { op, value = '0', resource = '' } = intent ?? {};
  if (op !== 'fence' || !/^\d/.test(why)) return undefined;
  try {
    assertNotStale(resource, BigInt(value), why);
  } catch (error) {
    return error as Error;
  }
  return undefined;
}
