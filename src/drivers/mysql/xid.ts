import { createHash } from 'node:crypto';
import { invalidArgument } from '../../core/validate.js';
import type { MysqlResult } from './client.js';

/** Marks the branches of tricord among those of others: "tc1" as a number. Fits binlog's 4 bytes. */
const FORMAT_ID = 0x74_63_31;
/** The only characters of a branch id: it stands in XA statements as a literal, never as a parameter. */
const BRANCH_ID = /^[A-Za-z0-9_.-]{1,64}$/;
/** X/Open's limit for each of the two parts, in bytes. */
const PART_BYTES_MAX = 64;

/** The names of the branches of one participant on its server. */
export interface XidSpace {
  /**
   * The xid of a branch as three SQL literals: gtrid, bqual and format. Throws a TypeError
   * (INVALID_ARGUMENT) for an id of other characters.
   */
  literal(branchId: string): string;
  /** The branch ids of this participant in the answer of XA RECOVER. */
  ours(recovered: MysqlResult): readonly string[];
}

/**
 * XA RECOVER lists the branches of the whole server, whatever database they write to. So that two
 * participants on one server never take each other's branches for their own, the branch qualifier
 * names the participant: `‹transactionId›` and `‹n›@‹participant›`.
 */
export function xidSpace(participant: string): XidSpace {
  const suffix = `@${shortened(participant)}`;
  return {
    literal(branchId) {
      if (typeof branchId !== 'string' || !BRANCH_ID.test(branchId)) {
        throw invalidArgument('branchId', branchId, '1 to 64 characters of [A-Za-z0-9_.-]');
      }
      const dot = branchId.lastIndexOf('.');
      const gtrid = dot < 0 ? branchId : branchId.slice(0, dot);
      const qualifier = dot < 0 ? '' : branchId.slice(dot + 1);
      return `'${gtrid}', '${qualifier}${suffix}', ${FORMAT_ID}`;
    },
    ours: ({ rows }) =>
      rows.flatMap(([format, gtridLength, , data]) => {
        if (Number(format) !== FORMAT_ID) return [];
        // The two parts follow each other without a mark between them.
        const bytes = Buffer.isBuffer(data) ? data : Buffer.from(String(data), 'latin1');
        const gtrid = bytes.subarray(0, Number(gtridLength)).toString('latin1');
        const bqual = bytes.subarray(Number(gtridLength)).toString('latin1');
        if (!bqual.endsWith(suffix)) return [];
        const qualifier = bqual.slice(0, -suffix.length);
        return [qualifier === '' ? gtrid : `${gtrid}.${qualifier}`];
      }),
  };
}

/** Room is left for the number of the branch; a name that is longer stands as its digest. */
function shortened(participant: string): string {
  const bytesMax = PART_BYTES_MAX - 10;
  if (participant.length <= bytesMax) return participant;
  return createHash('sha256').update(participant).digest('base64url');
}
