import { abortable, onAbort, throwIfAborted } from '../../core/abort.js';
import type { ListCallOptions, LockInspection } from '../../lock/driver.js';
import { expectOk } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { inspectLine, type LookContext } from './lock-inspect.js';
import { decodeName, encodeName } from './names.js';

/** So many lines are read at a time. */
const BATCH = 16;

/**
 * Every resource that begins with a prefix and that somebody holds or waits for. One listing of all
 * directories, empty ones too, then two round trips for each batch. The listing of all names has to
 * fit a response: some twenty thousand resources that were used in the last minutes.
 */
export async function* listLines(
  context: LookContext,
  prefix: string,
  { limit = Number.POSITIVE_INFINITY, signal }: ListCallOptions = {},
): AsyncGenerator<LockInspection> {
  const { connection } = context;
  const root = `${connection.root}/locks`;
  const live = await connection.current('list locks', { signal });
  const listing = Promise.all([live.ask.sync(root), live.ask.children(root)]);
  const [, listed] = await abortable(listing, signal);
  if (!listed.ok && listed.kind === 'no-node') return;
  const { names } = expectOk(listed, 'list locks');
  const all = names
    .flatMap((name) => decodeName(name) ?? [])
    .filter((name) => name.startsWith(prefix));
  let found = 0;
  for (let at = 0; at < all.length && found < limit; at += BATCH) {
    throwIfAborted(signal);
    const looking = all
      .slice(at, at + BATCH)
      .map((name) =>
        inspectLine(context, name, `${root}/${encodeName(name)}`, { signal, looks: 1 }),
      );
    for (const shown of await Promise.all(looking)) {
      if (shown.holders.length + shown.waiters.length === 0 || found >= limit) continue;
      found += 1;
      yield shown;
    }
  }
}

/** A directory that is not there, or a session that is not, is looked for this often, in milliseconds. */
const LOOK_AGAIN_MS = 1_000;

/** Calls `changed` when somebody came to a line or went from it, through new sessions as well. */
export function watchLine(
  connection: Connection,
  directory: string,
  changed: () => void,
  signal: AbortSignal,
): void {
  let stops: (() => void)[] = [];
  const stop = (): void => {
    for (const each of stops.splice(0)) each();
  };
  const again = (): void => {
    stop();
    if (signal.aborted) return;
    stops.push(connection.clock.schedule(LOOK_AGAIN_MS, begin, { keepAlive: false }));
  };
  const arm = async (live: LiveSession): Promise<void> => {
    const listed = await live.ask.children(directory, true);
    if (listed.ok || signal.aborted) return;
    // Nobody was here yet: the session hears of the directory's creation.
    const exists = await live.ask.exists(directory, true);
    if (exists.ok) return arm(live);
    if (exists.kind !== 'no-node') again();
  };
  const follow = async (): Promise<void> => {
    const live = await connection.current('watch a lock', { signal });
    stop();
    const look = (): void => {
      changed();
      arm(live).catch(again);
    };
    stops = [
      live.onChange(directory, look),
      live.onReconnect(look),
      onAbort(live.ended, () => {
        changed();
        again();
      }),
    ];
    await arm(live);
  };
  const begin = (): void => void follow().catch(again);
  begin();
  onAbort(signal, stop);
}
