import { CoordinationError } from '../../core/errors.js';
import type { TransactionId } from '../../core/ids.js';
import type { CommitRecord, StoredCommitRecord } from '../../transaction/decision-log.js';
import { LOG_FORMAT } from './decision-log-scripts.js';
import { formatError } from './errors.js';

/** `1 ‹decided ms› ‹unacknowledged, by comma› ‹record›`; the scripts read all but the record. */
const STORED = /^1 (\d+) (\S*) (.*)$/s;

interface RecordBody {
  readonly resourceId: string;
  readonly nodeId: string;
  /** Branch id, participant and evidence of each. */
  readonly branches: readonly (readonly [string, string, string])[];
  readonly key?: string | undefined;
}

/** The arguments of a decision: transaction, participants to acknowledge, record. */
export function encodeDecision(record: CommitRecord): [string, string, string] {
  const { transactionId, resourceId, nodeId, branches, key } = record;
  const names = new Set(branches.map(({ participant }) => participant));
  const body: RecordBody = {
    resourceId,
    nodeId,
    branches: branches.map(({ branchId, participant, evidence }) => [
      branchId,
      participant,
      evidence,
    ]),
    key,
  };
  return [transactionId, [...names].join(','), JSON.stringify(body)];
}

/** A record as the store has it. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function decodeRecord(
  transactionId: string,
  stored: string,
  nowMs: number,
): StoredCommitRecord {
  const where = `the record of transaction ${transactionId}`;
  const [, decidedMs, names = '', text = ''] = STORED.exec(stored) ?? [];
  if (decidedMs === undefined) throw formatError(where, stored, LOG_FORMAT);
  const { resourceId, nodeId, branches, key } = bodyOf(where, text);
  return {
    transactionId: transactionId as TransactionId,
    resourceId,
    nodeId,
    branches: branches.map(([branchId, participant, evidence]) => ({
      branchId,
      participant,
      evidence,
    })),
    ...(key !== undefined && { key }),
    unacknowledged: names === '' ? [] : names.split(','),
    ageMs: Math.max(0, nowMs - Number(decidedMs)),
  };
}

function bodyOf(where: string, text: string): RecordBody {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const found = text.slice(0, 80);
    const message = `${where} holds ${JSON.stringify(found)}, which tricord does not write there`;
    throw new CoordinationError('DATA_CORRUPT', message, { where, found }, { cause });
  }
}
