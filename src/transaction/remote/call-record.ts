import type { DecidedBranch } from '../decision-log.js';

/**
 * One call to a remote participant, as the store keeps it.
 *
 * ```text
 * open ──claim──▶ claimed ──vote──▶ voted ──end──▶ ended ──▶ removed
 *   ▲               │  │ claim by another, attempt + 1
 *   └───release─────┘  └── end(aborted) comes at any time before the vote too
 * ```
 *
 * Every change is one conditional write that names the write it builds on. The caller creates, ends
 * and, where there is nothing to apply, removes; the server that holds the claim votes once, and
 * removes what it has applied: that the record is gone *is* the acknowledgement.
 */
export interface CallRecord {
  /** `‹transactionId›.‹letter›`. */
  readonly callId: string;
  /** Which service is asked. */
  readonly service: string;
  /** Names the write that made this version: 11 of `[A-Za-z0-9_-]`, random. */
  readonly writeId: string;
  /** How far it has come. */
  readonly state: 'open' | 'claimed' | 'voted' | 'ended';
  /** How often it was handed out. */
  readonly attempt: number;
  /** The address of the session that called. */
  readonly caller: string;
  /** The address of the server that holds it; empty while it is open. */
  readonly server: string;
  /** After this nobody takes it any more, by the store's clock, in milliseconds. */
  readonly deadlineMs: number;
  /** JSON; empty once there is a vote. */
  readonly payload: string;
  /** How much longer than the call its transaction may take until it asks for votes, in milliseconds. */
  readonly slackMs?: number | undefined;
  /** The trace that the call belongs to, as of W3C Trace Context. */
  readonly traceparent?: string | undefined;
  /** Once there is one. Write-once. */
  readonly vote?: CallVote | undefined;
  /** Once it has ended. */
  readonly outcome?: 'committed' | 'aborted' | undefined;
}

/** What a server answers: the vote and the work's result in one. */
export type CallVote = CallYes | CallNo;

/** The call is prepared, or wrote nothing where there are no branches. */
export interface CallYes {
  /** Tells the votes apart. */
  readonly vote: 'yes';
  /** JSON of what the handler returned. */
  readonly result: string;
  /** Prepared in the server's resources; they stand in the commit record. */
  readonly branches: readonly DecidedBranch[];
  /** Of a three-phase transaction: the site that votes for them when it is asked. */
  readonly site?: string | undefined;
}

/** The handler threw, or a resource voted no. Nothing is prepared. */
export interface CallNo {
  /** Tells the votes apart. */
  readonly vote: 'no';
  /** A sentence. */
  readonly reason: string;
  /** The error's code, where it has one. */
  readonly code?: string | undefined;
  /** Whether another try of the transaction may succeed: a conflict with others. */
  readonly isConflict?: boolean | undefined;
}

/** Where a call is stored. */
export type CallKey = Pick<CallRecord, 'callId' | 'service'>;

/** What may happen to a call. */
export type CallEvent =
  /** `from`: the server that held it and is not there any more. */
  | { readonly type: 'claim'; readonly server: string; readonly from?: string | undefined }
  /** A server that closes gives it back. */
  | { readonly type: 'release'; readonly server: string; readonly attempt: number }
  | {
      readonly type: 'vote';
      readonly server: string;
      readonly attempt: number;
      readonly vote: CallVote;
    }
  | { readonly type: 'end'; readonly outcome: 'committed' | 'aborted' };

/**
 * The record after an event; undefined when the event is refused and changes nothing. Pure, and the
 * same for every store: the explorer of the tests drives it.
 */
export function callAfter(
  record: CallRecord,
  event: CallEvent,
  writeId: string,
): CallRecord | undefined {
  switch (event.type) {
    case 'claim':
      return claimed(record, event.server, event.from, writeId);
    case 'release':
      if (!isHeld(record, event)) return undefined;
      return { ...record, writeId, state: 'open', server: '' };
    case 'vote':
      // A server that was taken for dead votes in vain: its attempt is over.
      if (!isHeld(record, event)) return undefined;
      return { ...record, writeId, state: 'voted', payload: '', vote: event.vote };
    case 'end':
      return ended(record, event.outcome, writeId);
  }
}

function isHeld(
  record: CallRecord,
  by: { readonly server: string; readonly attempt: number },
): boolean {
  const { state, server, attempt } = record;
  return state === 'claimed' && server === by.server && attempt === by.attempt;
}

function claimed(
  record: CallRecord,
  server: string,
  from: string | undefined,
  writeId: string,
): CallRecord | undefined {
  const isFree = from === undefined && record.state === 'open';
  const isLeft = from !== undefined && record.state === 'claimed' && record.server === from;
  if (!isFree && !isLeft) return undefined;
  return { ...record, writeId, state: 'claimed', server, attempt: record.attempt + 1 };
}

function ended(
  record: CallRecord,
  outcome: 'committed' | 'aborted',
  writeId: string,
): CallRecord | undefined {
  if (record.state === 'ended') return undefined;
  const isYes = record.state === 'voted' && record.vote?.vote === 'yes';
  if (outcome === 'committed' && !isYes) return undefined;
  return { ...record, writeId, state: 'ended', payload: '', outcome };
}
