import { isCoordinationError } from '../core/errors.js';
import { invalidArgument } from '../core/validate.js';
import { branchAbortedError, branchEndedError, contradictedError } from './branch-errors.js';
import type { BarrierCall } from './function-participant.js';
import type { Branch, OnePhaseOutcome, ParticipantCallOptions, Vote } from './participant.js';

/** What the body of a transaction works with in a function participant. */
export interface FunctionBranch<Request> {
  /**
   * Notes a request, which prepare carries out. It must be plain data: it is copied through JSON now.
   * Rejects with BRANCH_ENDED after the transaction, and with a TypeError (INVALID_ARGUMENT) for what
   * is not JSON, or for more or larger requests than a branch takes.
   */
  request(request: Request): Promise<void>;
}

interface BranchFacts {
  readonly name: string;
  readonly branchId: string;
  readonly requestsMax: number;
}

/** All requests of a branch together, as JSON, in UTF-8 bytes. */
const PAYLOAD_BYTES_MAX = 1_048_576;

/** Nothing was sent; a step was, and may be there; or it is over. */
type Phase = 'working' | 'asked' | 'over';

/** One branch in the process that began it. */
export function functionBranch<Request>(
  facts: BranchFacts,
  pass: BarrierCall,
): Branch<FunctionBranch<Request>> {
  const { name, branchId } = facts;
  const requests = requestList(facts);
  let phase: Phase = 'working';
  const ask = async (
    event: 'prepare' | 'commit-one-phase',
    options: ParticipantCallOptions | undefined,
  ): Promise<Asked> => {
    const payload = requests.end();
    if (phase !== 'working') return { no: 'the branch has ended before' };
    phase = 'over';
    if (payload === undefined) return 'read-only';
    try {
      phase = 'asked';
      const { answer, state } = await pass(event, branchId, payload, options);
      if (answer === 'done') return 'yes';
      phase = 'over';
      return { no: `the branch was ${state} before` };
    } catch (cause) {
      // Whether its local transaction was committed is not known; otherwise nothing happened.
      if (isCoordinationError(cause, 'RESULT_UNKNOWN') || options?.signal?.aborted) throw cause;
      phase = 'over';
      return { no: cause instanceof Error ? cause.message : String(cause), cause };
    }
  };
  return {
    handle: {
      async request(request) {
        requests.add(request);
      },
    },
    prepare: async (options) => voteOf(await ask('prepare', options)),
    async commit(options) {
      const { answer } = await pass('commit', branchId, '', options);
      if (answer !== 'done') throw branchAbortedError(name, branchId);
      phase = 'over';
    },
    async abort(options) {
      requests.end();
      // Without a prepare there is nothing to undo, and none of this branch can come later.
      const isAsked = phase === 'asked';
      phase = isAsked ? phase : 'over';
      if (!isAsked) return;
      const { answer } = await pass('abort', branchId, '', options);
      phase = 'over';
      const [wanted, found] = ['aborted', 'committed'] as const;
      if (answer === 'refused')
        throw contradictedError({ participant: name, branchId, wanted, found });
    },
    async commitOnePhase(options) {
      try {
        return onePhaseOf(await ask('commit-one-phase', options));
      } catch (cause) {
        return { state: 'unknown', evidence: '', cause };
      }
    },
  };
}

type Asked = 'yes' | 'read-only' | { readonly no: string; readonly cause?: unknown };

function voteOf(asked: Asked): Vote {
  if (asked === 'read-only') return { vote: 'read-only' };
  if (asked === 'yes') return { vote: 'yes', evidence: '' };
  return { vote: 'no', reason: asked.no, cause: asked.cause };
}

function onePhaseOf(asked: Asked): OnePhaseOutcome {
  if (typeof asked === 'string') return { state: 'committed' };
  return { state: 'aborted', reason: asked.no, cause: asked.cause };
}

interface RequestList {
  add(request: unknown): void;
  /** All requests as JSON, undefined without any; none can be added any more. */
  end(): string | undefined;
}

function requestList({ name, requestsMax }: BranchFacts): RequestList {
  const texts: string[] = [];
  let bytes = 0;
  let isEnded = false;
  return {
    add(request) {
      if (isEnded) throw branchEndedError(name);
      const text: string | undefined = JSON.stringify(request);
      if (text === undefined)
        throw invalidArgument('request', request, 'plain data: what JSON holds');
      if (texts.length >= requestsMax) {
        throw invalidArgument('request', request, `at most ${requestsMax} requests to one branch`);
      }
      bytes += Buffer.byteLength(text) + 1;
      if (bytes > PAYLOAD_BYTES_MAX) {
        const remedy = `requests of at most ${PAYLOAD_BYTES_MAX} bytes of JSON together`;
        throw invalidArgument('request', request, remedy);
      }
      texts.push(text);
    },
    end() {
      isEnded = true;
      return texts.length === 0 ? undefined : `[${texts.join(',')}]`;
    },
  };
}
