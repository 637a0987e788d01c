import { abortable, sleep } from '../../core/abort.js';
import { CREATE } from './client.js';
import { errorOf } from './codes.js';
import type { LiveSession } from './live-session.js';
import { encodeNotice } from './lock-data.js';
import { endedError } from './lock-grants.js';
import { type LookContext, type ShownPlace, showPlaces } from './lock-inspect.js';
import { holderCount, type Line, lineOf, noticeName } from './lock-line.js';
import { isGone } from './lock-place.js';
import { ANY_VERSION } from './requests.js';

/** For so long the reason stands for the victim to read, in milliseconds, or as long as our session. */
const NOTICE_MS = 60_000;
const NO_DATA: Buffer = Buffer.alloc(0);

/**
 * Ends every grant of a resource: each holder's place goes, with its guard before it, and a notice
 * with the reason stands until its holder must have looked. Answers how many grants it ended.
 */
export async function forceLine(
  context: LookContext,
  resource: string,
  directory: string,
  reason: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { connection, grants } = context;
  const operation = `end the grants of ${JSON.stringify(resource)}`;
  const live = await connection.current(operation, { signal });
  const asking = Promise.all([live.ask.sync(directory), live.ask.children(directory)]);
  const [, listed] = await abortable(asking, signal);
  if (!listed.ok && listed.kind === 'no-node') return 0;
  if (!listed.ok) throw errorOf(listed, operation);
  const line = lineOf(listed.value.names, directory);
  const shown = await abortable(showPlaces(live, directory, line.places, operation), signal);
  const victims = shown.slice(0, holderCount(shown.map(({ place }) => place)));
  for (const { place } of victims) {
    const own = grants.get(place.grantId);
    own?.end(endedError(own.grant, `it was ended by force: ${reason}`));
  }
  const removing = victims.map((each) => endPlace(live, directory, line, each, reason));
  const ended = await abortable(Promise.all(removing), signal);
  const failure = ended.find((each) => typeof each === 'object');
  if (typeof failure === 'object') throw failure;
  void forget(context, live, directory, victims);
  return ended.filter((each) => each === true).length;
}

/** True when it was there to be ended; an error where nobody can tell. */
async function endPlace(
  live: LiveSession,
  directory: string,
  { guards }: Line,
  { place }: ShownPlace,
  reason: string,
): Promise<boolean | Error> {
  const path = `${directory}/${place.name}`;
  const notice = `${directory}/${noticeName(place.grantId)}`;
  const own = guards.filter(({ grantId }) => grantId === place.grantId);
  for (let isRepeated = false; ; isRepeated = true) {
    void live.ask.create(notice, encodeNotice(reason), CREATE.ephemeral);
    for (const { name } of own) void live.ask.remove(`${directory}/${name}`);
    const removing = live.ask.remove(path);
    // A reader that was about to begin an epoch is too late: it would be older than the next tokens.
    if (place.mode === 'shared') void live.ask.set(directory, NO_DATA, ANY_VERSION);
    const removed = await removing;
    if (removed.ok) return true;
    // After an answer that was lost, a place that is gone is the one that we removed.
    if (isGone(removed)) return isRepeated;
    const isUnanswered = removed.kind === 'unknown' || removed.kind === 'unsent';
    if (!isUnanswered || live.ended.aborted) return errorOf(removed, `end the grant at ${path}`);
    await live.connected().catch(() => {});
  }
}

/** Takes the notices away when nobody needs them any more. */
async function forget(
  { connection }: LookContext,
  live: LiveSession,
  directory: string,
  victims: readonly ShownPlace[],
): Promise<void> {
  await sleep(connection.clock, NOTICE_MS, { signal: live.ended, keepAlive: false }).catch(
    () => {},
  );
  for (const { place } of victims) {
    void live.ask.remove(`${directory}/${noticeName(place.grantId)}`);
  }
}
