import { CoordinationError } from '../../core/errors.js';
import type { TransactionId } from '../../core/ids.js';
import type { CommitRecord, StoredCommitRecord } from '../../transaction/decision-log.js';

/** The format of `record` in the table; another one is refused with UPGRADE_NEEDED. */
export const RECORD_FORMAT = 1;

/** JSON as text, not as `jsonb`: that refuses U+0000, which the id of a resource may hold. */
interface RecordBody {
  readonly resourceId: string;
  readonly nodeId: string;
  /** Branch id, participant and evidence of each. */
  readonly branches: readonly (readonly [string, string, string])[];
  readonly key?: string | undefined;
}

/** What the columns of a decision hold. */
export interface DecisionValues {
  readonly transactionId: string;
  /** Whose acknowledgement is awaited, separated by commas. */
  readonly participants: string;
  readonly record: string;
}

/** The values of a decision. */
export function encodeDecision(record: CommitRecord): DecisionValues {
  const { transactionId, resourceId, nodeId, branches, key } = record;
  const names = new Set(branches.map(({ participant }) => participant));
  const body: RecordBody = {
    resourceId,
    nodeId,
    branches: branches.map((each) => [each.branchId, each.participant, each.evidence]),
    key,
  };
  return { transactionId, participants: [...names].join(','), record: JSON.stringify(body) };
}

/** A row of the table as a record. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function decodeRecord(row: Readonly<Record<string, unknown>>): StoredCommitRecord {
  const where = `the record of transaction ${row.transaction_id}`;
  if (Number(row.format) !== RECORD_FORMAT) {
    throw upgradeNeeded(where, String(row.format), String(RECORD_FORMAT));
  }
  const { resourceId, nodeId, branches, key } = bodyOf(where, String(row.record));
  const names = String(row.unacknowledged);
  return {
    transactionId: row.transaction_id as TransactionId,
    resourceId,
    nodeId,
    branches: branches.map(([branchId, participant, evidence]) => ({
      branchId,
      participant,
      evidence,
    })),
    ...(key !== undefined && { key }),
    unacknowledged: names === '' ? [] : names.split(','),
    ageMs: Math.max(0, Number(row.age_ms)),
  };
}

/** The error for what a newer release wrote. */
export function upgradeNeeded(
  where: string,
  found: string,
  supported: string,
): CoordinationError<'UPGRADE_NEEDED'> {
  return new CoordinationError(
    'UPGRADE_NEEDED',
    `${where} has format ${found}, and this release of tricord reads ${supported}; upgrade tricord`,
    { where, found, supported },
  );
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
