import type { CallRecord } from '../../transaction/remote/call-record.js';
import { formatError } from './errors.js';
import { CALL_FORMAT } from './remote-scripts.js';

/** What the scripts read; the rest is JSON, which holds no line break of its own. */
const STORED = /^1 (\S+) (open|claimed|voted|ended) (\d+) (\d+) (\S+) (\S+)\n(.*)$/s;

type Rest = Pick<CallRecord, 'payload' | 'slackMs' | 'traceparent' | 'vote' | 'outcome'>;

/** A call as the store has it, without its id and its service. */
export function encodeCall(record: CallRecord): string {
  const { writeId, state, attempt, deadlineMs, server, caller } = record;
  const head = [CALL_FORMAT, writeId, state, attempt, deadlineMs, server || '-', caller];
  return `${head.join(' ')}\n${encodeRest(record)}`;
}

/** The part that no script reads. */
export function encodeRest({ payload, slackMs, traceparent, vote, outcome }: Rest): string {
  return JSON.stringify({ payload, slackMs, traceparent, vote, outcome });
}

/** A call from what is stored. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function decodeCall(service: string, callId: string, stored: string): CallRecord {
  const [, writeId, state, attempt, deadlineMs, server = '', caller = '', text = ''] =
    STORED.exec(stored) ?? [];
  const where = `call ${callId} to ${service}`;
  if (writeId === undefined) throw formatError(where, stored, CALL_FORMAT);
  return {
    callId,
    service,
    writeId,
    state: state as CallRecord['state'],
    attempt: Number(attempt),
    caller,
    server: server === '-' ? '' : server,
    deadlineMs: Number(deadlineMs),
    ...restOf(where, text),
  };
}

function restOf(where: string, text: string): Rest {
  try {
    const { payload = '', slackMs, traceparent, vote, outcome }: Partial<Rest> = JSON.parse(text);
    return {
      payload,
      ...(slackMs !== undefined && { slackMs }),
      ...(traceparent !== undefined && { traceparent }),
      ...(vote !== undefined && { vote }),
      ...(outcome !== undefined && { outcome }),
    };
  } catch {
    throw formatError(where, text, CALL_FORMAT);
  }
}
