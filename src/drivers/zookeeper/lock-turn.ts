import { abortable, abortScope } from '../../core/abort.js';
import { deferred } from '../../core/deferred.js';
import { decodePlace, type PlaceData } from './lock-data.js';
import type { Place, Standing } from './lock-line.js';
import type { PlaceContext } from './lock-look.js';

type Waiting = Standing & { readonly state: 'waits' };

/** A lost notice costs at most this, in milliseconds: the line is read again without one. */
const RECHECK_MS = 10_000;

/** Waits until one of the places in front `goes`, or may have changed `unseen` or otherwise. */
export async function turn(
  context: PlaceContext,
  standing: Waiting,
  downgraded: Set<string>,
): Promise<'gone' | 'unseen'> {
  const { connection, live, directory, request } = context;
  const changed = deferred<'gone' | 'unseen'>();
  const wake = (): void => changed.resolve('unseen');
  const leave = (): void => changed.resolve('gone');
  const stops = [live.onReconnect(wake)];
  for (const place of standing.behind) {
    const path = `${directory}/${place.name}`;
    // Reading its data, because `exists` would leave a watch behind on a node that has gone.
    const watch = (): void => {
      void live.ask.get(path, true).then((reply) => {
        const isOver = !reply.ok || lets(standing, place, reply.value.data, downgraded);
        if (isOver) wake();
      });
    };
    // A watch fires once, also when the holder only publishes its token.
    stops.push(live.onChange(path, (event) => (event === 'deleted' ? leave() : watch())));
    watch();
  }
  using scope = abortScope({
    clock: connection.clock,
    parents: [live.ended, request.signal],
    timeoutMs: RECHECK_MS,
  });
  scope.addEventListener('abort', wake);
  try {
    return await abortable(changed.promise, request.signal);
  } finally {
    for (const stop of stops) stop();
  }
}

/** Reads whom a reader would wait for, and notes which of them became a reader; true if any did. */
export async function noteDowngraded(
  { live, directory, request }: PlaceContext,
  standing: Waiting,
  downgraded: Set<string>,
): Promise<boolean> {
  const reading = standing.behind.map(async (place) => {
    const reply = await live.ask.get(`${directory}/${place.name}`);
    return reply.ok && lets(standing, place, reply.value.data, downgraded);
  });
  const answers = await abortable(Promise.all(reading), request.signal);
  return standing.until === 'shares' && answers.some(Boolean);
}

/** Whether what a place in front holds means that the line must be looked at again. */
function lets({ until }: Waiting, place: Place, data: Buffer, downgraded: Set<string>): boolean {
  if (until === 'goes') return false;
  const shown = readable(data, place.name);
  if (until === 'holds') return shown?.heldForMs !== undefined;
  if (!shown?.isDowngraded) return false;
  downgraded.add(place.grantId);
  return true;
}

/** What a newer release wrote is waited for, as any holder is: its name says enough. */
function readable(data: Buffer, where: string): PlaceData | undefined {
  try {
    return decodePlace(data, where);
  } catch {
    return undefined;
  }
}
