import { throwIfAborted } from '../core/abort.js';
import { assertNumber, invalidArgument } from '../core/validate.js';
import { workGate } from '../core/work-gate.js';
import { type ScopeTaker, sourceOf } from './call-scope.js';
import type { DecisionLogNode, DecisionLogSession, LogCallOptions } from './decision-log.js';
import { logAcknowledger, type WriteAcknowledgements } from './log-acknowledger.js';
import { type LogDeciderOptions, logDecider } from './log-decider.js';
import { incarnationFencedError } from './log-errors.js';
import { logLiveness } from './log-liveness.js';

/** Options that a log whose incarnations are kept live by heartbeats takes. */
export interface HeartbeatLogOptions {
  readonly authority?: string | undefined;
  readonly unacknowledgedMax?: number | undefined;
  readonly recordRetainMs?: number | undefined;
  readonly livenessTimeoutMs?: number | undefined;
  readonly replyTimeoutMs?: number | undefined;
}

/** The same, checked. */
export interface HeartbeatLogSettings {
  readonly authority: string;
  readonly unacknowledgedMax: number;
  readonly recordRetainMs: number;
  readonly livenessTimeoutMs: number;
  readonly replyTimeoutMs: number;
}

/** A step is sent again for so long when its caller gave no signal. */
export const LOG_STEP_TIMEOUT_MS: number = 10_000;
const UNACKNOWLEDGED_MAX = 10_000;
const RECORD_RETAIN_MS = 24 * 60 * 60 * 1_000;
const LIVENESS_TIMEOUT_MS = 10_000;
const CLOSE_FLUSH_MS = 1_000;

/** Checks options, and fills in what was left out. Throws INVALID_ARGUMENT. */
export function heartbeatLogSettings(
  options: HeartbeatLogOptions,
  defaults: {
    readonly authority: string;
    readonly replyTimeoutMs: number;
    readonly replyTimeoutMsMax?: number;
  },
): HeartbeatLogSettings {
  const {
    authority = defaults.authority,
    unacknowledgedMax = UNACKNOWLEDGED_MAX,
    recordRetainMs = RECORD_RETAIN_MS,
    livenessTimeoutMs = LIVENESS_TIMEOUT_MS,
    replyTimeoutMs = defaults.replyTimeoutMs,
  } = options;
  if (typeof authority !== 'string' || !/^[\w-]{1,8}$/.test(authority)) {
    throw invalidArgument('authority', authority, '1 to 8 characters of [A-Za-z0-9_-]');
  }
  assertNumber('unacknowledgedMax', unacknowledgedMax, { min: 1, integer: true });
  assertNumber('recordRetainMs', recordRetainMs, { min: 0 });
  assertNumber('livenessTimeoutMs', livenessTimeoutMs, { min: 100 });
  const { replyTimeoutMsMax = Number.MAX_SAFE_INTEGER } = defaults;
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 1, max: replyTimeoutMsMax });
  return { authority, unacknowledgedMax, recordRetainMs, livenessTimeoutMs, replyTimeoutMs };
}

/** Runs one call of a session, unless it is closed or the caller has given up. */
export type LogStep = <T>(
  options: LogCallOptions | undefined,
  work: () => Promise<T>,
) => Promise<T>;

/** What a store does in its own way. */
export interface HeartbeatLogSteps<Values>
  extends Omit<
    LogDeciderOptions<Values>,
    'clock' | 'timeoutMs' | 'unacknowledgedMax' | 'flushAcknowledgements'
  > {
  readonly beat: (incarnation: string) => Promise<'live' | 'fenced'>;
  readonly acknowledge: WriteAcknowledgements;
}

/** What all such sessions do alike, and the gate through which the rest of their calls goes. */
export interface HeartbeatLogSession {
  readonly step: LogStep;
  readonly session: Pick<
    DecisionLogSession,
    'register' | 'decide' | 'acknowledge' | 'fencedSignal' | 'close'
  > &
    ScopeTaker;
}

/** A session of a log whose store makes a decision in one step, and whose incarnations beat. */
export function heartbeatLogSession<Values>(options: {
  readonly node: DecisionLogNode;
  readonly settings: Pick<HeartbeatLogSettings, 'unacknowledgedMax' | 'livenessTimeoutMs'>;
  readonly steps: HeartbeatLogSteps<Values>;
  /** Registers in the store, findable before it can decide. */
  readonly register: (
    incarnation: string,
    signal: AbortSignal | undefined,
  ) => Promise<'live' | 'fenced'>;
  /** Lets go of what the session holds in this process, at the end of `close`. */
  readonly dispose?: () => void;
}): HeartbeatLogSession {
  const { node, steps, register, dispose } = options;
  const { unacknowledgedMax, livenessTimeoutMs } = options.settings;
  const { clock, random } = node;
  const alive = logLiveness({ clock, livenessTimeoutMs, beat: steps.beat });
  const acknowledgements = logAcknowledger({ clock, random, write: steps.acknowledge });
  const flushAcknowledgements = (): Promise<void> => acknowledgements.flush();
  const timeoutMs = LOG_STEP_TIMEOUT_MS;
  const decisions = logDecider({
    ...{ ...steps, clock, timeoutMs, unacknowledgedMax, flushAcknowledgements },
  });
  const gate = workGate('the decision log', clock);
  let closing: Promise<void> | undefined;

  const step: LogStep = (callOptions, work) =>
    gate.run(() => {
      throwIfAborted(sourceOf(callOptions));
      return work();
    });
  const close = async (): Promise<void> => {
    alive.close();
    await gate.close(CLOSE_FLUSH_MS);
    await Promise.race([acknowledgements.flush(), elapsed(node, CLOSE_FLUSH_MS)]);
    acknowledgements.close();
    dispose?.();
  };
  const session: HeartbeatLogSession['session'] = {
    takesScope: true,
    register: (incarnation, callOptions) =>
      step(callOptions, async () => {
        if ((await register(incarnation, callOptions?.signal)) === 'fenced') {
          alive.fenced(incarnation);
          throw incarnationFencedError(incarnation);
        }
        alive.keep(incarnation);
      }),
    decide: (incarnation, record, callOptions) =>
      step(callOptions, async () => {
        const answer = await decisions.decide(incarnation, record, sourceOf(callOptions));
        if (answer === 'fenced') alive.fenced(incarnation);
        return answer;
      }),
    acknowledge: (all, callOptions) => step(callOptions, () => acknowledgements.add(all)),
    fencedSignal: (incarnation) => alive.signal(incarnation),
    close() {
      closing ??= close();
      return closing;
    },
  };
  return { step, session };
}

function elapsed({ clock }: DecisionLogNode, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.schedule(delayMs, resolve, { keepAlive: false });
  });
}
