import { appendFileSync } from 'node:fs';
import type { ServerKind, ServerSource } from './handle.js';

/** Names the file in which a run's processes note the servers that they used. */
export const VERSIONS_VARIABLE = 'TRICORD_TEST_VERSIONS';

/** Notes a server for the summary at the end of `npm test`; does nothing outside of it. */
export function noteVersion(kind: ServerKind, version: string, source: ServerSource): void {
  const file = process.env[VERSIONS_VARIABLE];
  if (file !== undefined) appendFileSync(file, `${kind} ${version} ${source}\n`);
}
