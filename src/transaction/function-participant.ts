import { abortScope, throwIfAborted } from '../core/abort.js';
import { type Clock, systemClock } from '../core/clock.js';
import { CoordinationError } from '../core/errors.js';
import { assertParticipantName } from '../core/participant-name.js';
import { assertNumber, assertOptions, invalidArgument } from '../core/validate.js';
import { workGate } from '../core/work-gate.js';
import type { Barrier, BarrierPassage, BarrierStep } from './barrier.js';
import type { BarrierEffect, BarrierEvent } from './barrier-machine.js';
import { branchAbortedError, contradictedError } from './branch-errors.js';
import { type FunctionBranch, functionBranch } from './function-participant-branch.js';
import type { Participant, ParticipantCallOptions } from './participant.js';

/** What one of the three functions is called with, beside the client. */
export interface FunctionCall<Request> {
  /** What the body asked for by `request`; a copy that went through JSON. */
  readonly request: Request;
  /** Of which branch it is. */
  readonly branchId: string;
  /**
   * Unique per request and the same at every call for it: the idempotency key for effects outside of
   * the client's local transaction, such as a payment provider's. 1 to 70 of `[A-Za-z0-9_.:-]`.
   */
  readonly key: string;
  /** Aborted when the call must end: its local transaction is rolled back. */
  readonly signal: AbortSignal;
}

/** One of the functions of a {@link functionParticipant}. */
export type ParticipantFunction<Request, Client> = (
  client: Client,
  call: FunctionCall<Request>,
) => Promise<unknown> | unknown;

/** Options of {@link functionParticipant}. */
export interface FunctionParticipantOptions<Request, Client> {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /** Where states are kept, and what gives the functions their client. */
  readonly barrier: Barrier<Client>;
  /**
   * Makes sure that commit and abort will both work, for example moves stock from available to
   * reserved. What it throws is the reason of a no, and everything that it did through the client is
   * rolled back.
   */
  readonly prepare: ParticipantFunction<Request, Client>;
  /** Makes it final. What it throws is tried again, by this node or another, until it works. */
  readonly commit: ParticipantFunction<Request, Client>;
  /** Takes back what prepare did. Called only after a prepare that succeeded; tried again like commit. */
  readonly abort: ParticipantFunction<Request, Client>;
  /** A branch takes so many requests. Default 1,000. */
  readonly requestsMax?: number | undefined;
  /** One local transaction may take so long, in milliseconds. Default 10,000. */
  readonly callTimeoutMs?: number | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
}

const REQUESTS_MAX = 1_000;
const CALL_TIMEOUT_MS = 10_000;
const CLOSE_WAIT_MS = 2_000;

/**
 * Your own prepare, commit and abort as a participant of transactions (Try-Confirm-Cancel), each of
 * which takes effect exactly once.
 *
 * ```ts
 * const stock = functionParticipant<{ sku: string; quantity: number }, PostgresBarrierClient<Pool>>({
 *   name: 'stock',
 *   barrier: postgresBarrier({ pool }),
 *   prepare: async (db, { request }) => { … },   // available → reserved; throw to vote no
 *   commit: async (db, { request }) => { … },    // reserved → gone
 *   abort: async (db, { request }) => { … },     // reserved → available
 * });
 * await (await tx.enlist(stock)).request({ sku: 'sku:42', quantity: 1 });
 * ```
 *
 * A function gets the client of a local transaction, in which the barrier notes that it was performed.
 * So commit and abort may be sent twice, at the same time, by other nodes, after a kill between effect
 * and reply: the effect is there once. An abort without its prepare succeeds without calling you, and
 * the prepare that comes late is refused. Effects outside the client happen at least once: give them
 * `call.key`.
 *
 * Requests are kept as JSON, because commit or abort may run on another node. A branch without
 * requests is read-only.
 *
 * @typeParam Request - what `request` takes: plain data.
 * @typeParam Client - what the barrier gives to the functions.
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed name, barrier, function or number.
 */
export function functionParticipant<Request, Client>(
  options: FunctionParticipantOptions<Request, Client>,
): Participant<FunctionBranch<Request>> {
  assertOptions(options, '{ name, barrier, prepare, commit, abort }');
  const { name, barrier, clock = systemClock } = options;
  const { requestsMax = REQUESTS_MAX, callTimeoutMs = CALL_TIMEOUT_MS } = options;
  assertParticipantName(name);
  if (typeof barrier?.pass !== 'function') {
    throw invalidArgument('barrier', barrier, 'a barrier, such as postgresBarrier({ pool })');
  }
  for (const verb of ['prepare', 'commit', 'abort'] as const) {
    if (typeof options[verb] !== 'function') {
      throw invalidArgument(verb, options[verb], 'a function');
    }
  }
  assertNumber('requestsMax', requestsMax, { min: 1, integer: true });
  assertNumber('callTimeoutMs', callTimeoutMs, { min: 1 });
  const gate = workGate(`participant "${name}"`, clock);
  const within = <T>(
    call: ParticipantCallOptions | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> =>
    gate.run(async () => {
      throwIfAborted(call?.signal);
      using scope = abortScope({ clock, parents: [call?.signal], timeoutMs: callTimeoutMs });
      return work(scope.signal);
    });
  const pass: BarrierCall = (event, branchId, payload, call) =>
    within(call, (signal) =>
      barrier.pass(stepOf(options, { event, branchId, payload, signal, timeoutMs: callTimeoutMs })),
    );
  return {
    name,
    backend: barrier.backend,
    enlist: ({ branchId, signal }) =>
      within({ signal }, async () =>
        functionBranch<Request>({ name, branchId, requestsMax }, pass),
      ),
    async commit({ branchId }, call) {
      assertCommitted(options, branchId, await pass('commit', branchId, '', call));
    },
    async abort({ branchId }, call) {
      assertAborted(name, branchId, await pass('abort', branchId, '', call));
    },
    recover: (call) => within(call, (signal) => barrier.prepared(name, { signal })),
    outcome: ({ branchId }, call) =>
      within(
        call,
        async (signal) => (await barrier.state(name, branchId, { signal })) ?? 'unknown',
      ),
    guarantees: (call) => within(call, (signal) => barrier.guarantees(name, { signal })),
    async close() {
      await gate.close(CLOSE_WAIT_MS);
    },
  };
}

/** One bounded step at the barrier. */
export type BarrierCall = (
  event: BarrierEvent,
  branchId: string,
  payload: string,
  call: ParticipantCallOptions | undefined,
) => Promise<BarrierPassage>;

type StepFacts = Pick<
  BarrierStep<unknown>,
  'event' | 'branchId' | 'payload' | 'signal' | 'timeoutMs'
>;

function stepOf<Request, Client>(
  options: FunctionParticipantOptions<Request, Client>,
  facts: StepFacts,
): BarrierStep<Client> {
  const { branchId, signal } = facts;
  return {
    ...facts,
    participant: options.name,
    async perform(effect, client, payload) {
      for (const [key, request] of requestsIn<Request>(branchId, effect, payload)) {
        throwIfAborted(signal);
        await options[effect](client, { request, branchId, key, signal });
      }
    },
  };
}

/** What was done last is undone first. */
function requestsIn<Request>(
  branchId: string,
  effect: BarrierEffect,
  payload: string,
): readonly (readonly [key: string, request: Request])[] {
  const requests: readonly Request[] = JSON.parse(payload);
  const keyed = requests.map((request, index) => [`${branchId}:${index}`, request] as const);
  return effect === 'abort' ? keyed.toReversed() : keyed;
}

/** Throws unless a commit is done. */
export function assertCommitted(
  { name, barrier }: { readonly name: string; readonly barrier: { readonly backend: string } },
  branchId: string,
  { answer }: BarrierPassage,
): void {
  if (answer === 'refused') throw branchAbortedError(name, branchId);
  if (answer === 'done') return;
  throw new CoordinationError(
    'RESULT_UNKNOWN',
    `the barrier of participant "${name}" knows nothing of branch ${branchId}: it was never ` +
      'prepared here, or its row is gone (retainMs, or a store that lost its data)',
    { backend: barrier.backend, operation: 'commit' },
  );
}

/** Throws when a branch that was to be aborted was committed. */
export function assertAborted(name: string, branchId: string, { answer }: BarrierPassage): void {
  if (answer !== 'refused') return;
  const [wanted, found] = ['aborted', 'committed'] as const;
  throw contradictedError({ participant: name, branchId, wanted, found });
}
