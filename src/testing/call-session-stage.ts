import assert from 'node:assert/strict';
import { systemClock } from '../core/clock.js';
import { newIncarnation, newTransactionIds } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import { callIdOf } from '../transaction/branch-id.js';
import type { DecisionLog } from '../transaction/decision-log.js';
import { type CallEvent, type CallRecord, callAfter } from '../transaction/remote/call-record.js';
import type { CallHint, CallSession } from '../transaction/remote/call-session.js';
import { eventually } from './decision-log-stage.js';

/** One process's store, as the subject of a contract opens it. */
export interface OpenedCallStore {
  /** What the cases open sessions of calls of. */
  readonly log: DecisionLog;
  /** Lets go of what was opened for it; called after `CallSession.close`. */
  close?(): Promise<void>;
}

/** What `callSessionContract` is run on. */
export interface CallSessionSubject {
  /** Opens the store the way one more process would: with its own client. */
  open(): OpenedCallStore | Promise<OpenedCallStore>;
  /** A server that was closed is gone from `servers` within this, in milliseconds. Default 15,000. */
  readonly goneWithinMs?: number | undefined;
}

/** Where one case plays: a namespace of its own, and everything let go at the end. */
export interface CallStage {
  readonly goneWithinMs: number;
  readonly service: string;
  /** One more process. */
  node(): Promise<StagedCalls>;
}

/** A session with what the cases do with it. */
export interface StagedCalls {
  readonly session: CallSession;
  /** Every hint heard since the node was made, the services of `hear` included. */
  readonly hints: CallHint[];
  hear(services: readonly string[]): void;
  /** Creates a call with a fresh id. */
  post(changes?: { readonly payload?: string; readonly timeoutMs?: number }): Promise<CallRecord>;
  /** Makes an event happen to a record by a conditional write; answers what stands there then. */
  change(record: CallRecord, event: CallEvent): Promise<CallRecord | undefined>;
  /** Waits for a hint about a call, or fails. */
  hinted(callId: string): Promise<void>;
}

const HINT_WITHIN_MS = 5_000;

/** Runs a case on a stage, and lets go of everything afterwards, however it ended. */
export async function onCallStage(
  subject: CallSessionSubject,
  play: (stage: CallStage) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<void>)[] = [];
  const namespace = `k${systemRandom.token(9)}`;
  const service = 'inventory.eu-1';
  const node = async (): Promise<StagedCalls> => {
    const opened = await subject.open();
    const { log } = opened;
    assert.ok(log.openCalls, 'the log carries calls');
    const nodeId = `node ${cleanups.length + 1} {ü🎻}`;
    const facts = { nodeId, namespace, clock: systemClock, random: systemRandom };
    const session = log.openCalls(facts);
    cleanups.push(async () => {
      await session.close();
      await opened.close?.();
    });
    return stagedCalls(session, { namespace, authority: log.authority, service });
  };
  try {
    const { goneWithinMs = 15_000 } = subject;
    await play({ goneWithinMs, service, node });
  } finally {
    for (const cleanup of cleanups) await cleanup();
  }
}

function stagedCalls(
  session: CallSession,
  facts: { readonly namespace: string; readonly authority: string; readonly service: string },
): StagedCalls {
  const { service, ...origin } = facts;
  const newId = newTransactionIds({ ...origin, incarnation: newIncarnation() });
  const hints: CallHint[] = [];
  const hear = (services: readonly string[]): void => {
    session.listen(services, (hint) => hints.push(hint));
  };
  hear([]);
  return {
    session,
    hints,
    hear,
    post: ({ payload = '{"sku":"42 {ü🎻}\\n"}', timeoutMs = 60_000 } = {}) =>
      session.create({ callId: callIdOf(newId('order:7', 'a'), 0), service, payload, timeoutMs }),
    async change(record, event) {
      const changed = callAfter(record, event, systemRandom.token(11));
      assert.ok(changed, `${event.type} is allowed`);
      return session.replace(changed, record.writeId);
    },
    hinted: (callId) =>
      eventually(`a hint about ${callId}`, HINT_WITHIN_MS, async () =>
        hints.some((hint) => hint.type === 'changed' && hint.callId === callId),
      ),
  };
}
