import type { Clock } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { LogCallOptions } from '../decision-log.js';
import type { CallKey, CallRecord } from './call-record.js';

/** Which process a call session serves. */
export interface CallNode {
  /** Names the process, for people who look into the store. */
  readonly nodeId: string;
  /** Whose calls these are. */
  readonly namespace: string;
  /** The source of time. */
  readonly clock: Clock;
  /** The source of chance. */
  readonly random: Random;
}

/** Options of `CallSession.read`. */
export interface ReadCallOptions extends LogCallOptions {
  /** A hint about the call was heard, and what it told of is enough. Default false. */
  readonly isHinted?: boolean | undefined;
}

/** What a new call is made of. */
export type NewCall = Pick<
  CallRecord,
  'callId' | 'service' | 'payload' | 'slackMs' | 'traceparent'
> & {
  /** Its deadline, from now on, in milliseconds; the store adds its own clock. */
  readonly timeoutMs: number;
};

/** A call that was just handed out, with what is left of its time. */
export interface TakenCall {
  /** The call as it stands now, claimed by the session that took it. */
  readonly record: CallRecord;
  /** Until its deadline, by the store's clock, in milliseconds. */
  readonly remainingMs: number;
  /** None waited behind it, so that a hint tells of the next one. Default false. */
  readonly isLast?: boolean | undefined;
}

/** What stands in the store; no record: the call is gone. */
export interface StandingCall {
  /** The call. */
  readonly record: CallRecord | undefined;
}

/** Something may have changed; it need not have, and a hint may be lost. */
export type CallHint =
  /** A call of a service waits, since a `take` found none. */
  | { readonly type: 'queued'; readonly service: string }
  /** A call that this session created or took was changed or removed, since it last read it. */
  | {
      readonly type: 'changed';
      readonly callId: string;
      /** What stands there after that, where the hint tells. */
      readonly now?: StandingCall | undefined;
    }
  /** Hints may have been missed. */
  | { readonly type: 'missed' };

/**
 * The calls of one namespace in a store, in the service of one process: the transport and the record
 * of remote participants. Records are the truth, hints only save waiting.
 *
 * Every operation may be sent twice. Reads are linearizable: a write that was acknowledged before the
 * read began is seen. A lost reply rejects with RESULT_UNKNOWN, and the caller asks again; a store
 * that cannot be reached, with BACKEND_UNAVAILABLE.
 *
 * A store passes `callSessionContract` of `tricord/testing`.
 */
export interface CallSession {
  /** Names this session in records, unique for ever: 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly address: string;
  /** A record may take so many bytes of payload or result; more is CALL_TOO_LARGE. */
  readonly bytesMax: number;
  /**
   * Creates an open call and puts it last in the queue of its service, unless a record is there.
   * Answers what stands there then. Rejects with CALL_QUEUE_FULL when too many wait.
   */
  create(call: NewCall, options?: LogCallOptions): Promise<CallRecord>;
  /**
   * Makes an ended call, aborted, where none is: so that a `create` whose reply was lost, and that may
   * still be on its way, finds it. Answers what stands there then.
   */
  bury(key: CallKey, options?: LogCallOptions): Promise<CallRecord>;
  /** The call as of now; with `isHinted`, as of a hint that this session has heard, or later. */
  read(key: CallKey, options?: ReadCallOptions): Promise<CallRecord | undefined>;
  /**
   * Writes a record in the place of the version named `replaces`, and tells whom it concerns: the
   * caller of a vote, the server of an end, the servers of a release. Answers what stands there then:
   * the same record when it was written, now or before.
   */
  replace(
    record: CallRecord,
    replaces: string,
    options?: LogCallOptions,
  ): Promise<CallRecord | undefined>;
  /** Removes the version named; another one stays. Tells caller and server. */
  remove(record: CallRecord, options?: LogCallOptions): Promise<void>;
  /**
   * Claims the call of a service that has waited longest and whose deadline has not passed, for
   * this session: exactly one session gets it. Undefined when none waits.
   */
  take(service: string, options?: LogCallOptions): Promise<TakenCall | undefined>;
  /** The calls of a service that stand in the store, in no particular order, at most `limit`. */
  list(service: string, limit: number, options?: LogCallOptions): Promise<readonly CallRecord[]>;
  /** The store's clock, in milliseconds. */
  nowMs(options?: LogCallOptions): Promise<number>;
  /**
   * Shows that this session serves, and keeps showing it (heartbeat, ephemeral node) until `withdraw`
   * or `close`.
   */
  announce(service: string, options?: LogCallOptions): Promise<void>;
  /** Shows it no longer. */
  withdraw(service: string, options?: LogCallOptions): Promise<void>;
  /** The addresses of the sessions that serve a service now. */
  servers(service: string, options?: LogCallOptions): Promise<readonly string[]>;
  /** Hears hints about these services and about own calls, until the function is called. */
  listen(services: readonly string[], heard: (hint: CallHint) => void): () => void;
  /** Ends heartbeats and what the session opened. Never rejects. */
  close(): Promise<void>;
}
