import { open } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { systemClock } from '../core/clock.js';

/** What was done by hand, and why: a line of JSON each in a file that is only ever added to. */
export interface AuditEntry {
  readonly event: 'resolving' | 'resolved' | 'refused' | 'failed';
  readonly transactionId: string;
  readonly verdict: string;
  readonly reason: string;
  readonly details: readonly string[];
}

/** Writes an entry, on the disk before it resolves: an action without its record is not taken. */
export async function writeAudit(path: string, entry: AuditEntry): Promise<void> {
  const at = new Date(systemClock.wallMs()).toISOString();
  const file = await open(path, 'a', 0o600);
  try {
    await file.write(`${JSON.stringify({ at, by: userInfo().username, ...entry })}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}
