import type { AbortSource } from '../../core/abort.js';
import { type Clock, elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import type { Connection } from './connection.js';
import { serverNowMs } from './evidence.js';
import { assertCanPrepare, assertTables, readSettings, type ServerSettings } from './settings.js';

/** What a participant knows of its server, asked for once and then remembered. */
export interface ServerFacts {
  /** The settings; inspects the server on the first use, or again after it failed. */
  inspect(connection: Connection, signal: AbortSource): Promise<ServerSettings>;
  /** Reads the settings again, and checks them. */
  read(connection: Connection, signal: AbortSource): Promise<ServerSettings>;
  /** The server's clock, as far as this process's own tells since the server was last asked. */
  nowMs(): number;
}

/** Nothing known yet. */
export function serverFacts(backend: string, clock: Clock): ServerFacts {
  let settings: ServerSettings | undefined;
  let seen: { readonly at: Instant; readonly nowMs: number } | undefined;
  const read = async (connection: Connection, signal: AbortSource): Promise<ServerSettings> => {
    const run = (sql: string) => connection.run(sql, [], signal);
    const found = await readSettings(run);
    assertCanPrepare(backend, found);
    await assertTables(backend, run);
    const at = instantOf(clock);
    seen = { at, nowMs: await serverNowMs(run) };
    // With autocommit off, looking at a table has begun a transaction.
    await run('rollback');
    settings = found;
    return found;
  };
  return {
    read,
    inspect: async (connection, signal) => settings ?? read(connection, signal),
    nowMs: () => (seen === undefined ? 0 : seen.nowMs + elapsedMs(clock, seen.at)),
  };
}
