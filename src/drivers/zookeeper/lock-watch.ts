import { decodeNotice, encodePlace } from './lock-data.js';
import { endedError, type HeldGrant, type Outlook } from './lock-grants.js';
import { lineOf, noticeName, standingOf, withDowngraded } from './lock-line.js';
import { ANY_VERSION, type NodeChildren } from './requests.js';

/**
 * Lets a holder see who comes to wait and whether its own place is removed, once it has held for a
 * while or needs to know. A watch of the line is set again only while nobody waits, so that a long
 * line costs its holder nothing; or always, for who retains what it does not use.
 */
export function outlookOf(held: HeldGrant): Outlook {
  held.outlook ??= lookOut(held);
  return held.outlook;
}

function lookOut(held: HeldGrant): Outlook {
  const { live, directory } = held;
  let isOpen = false;
  let reports = false;
  let waiters = held.grant.waiters;
  const look = async (): Promise<void> => {
    const listed = await live.ask.children(directory, true);
    if (listed.ok) waiters = lookAround(held, listed.value, reports) ?? 0;
  };
  // A name of a newer release is reported by the next renewal; a hint need not.
  const lookSafely = (): void => void look().catch(() => {});
  const open = (): void => {
    if (isOpen) return;
    isOpen = true;
    held.onEnd(live.onReconnect(lookSafely));
    const onChild = (): void => {
      if (reports || waiters === 0) lookSafely();
    };
    held.onEnd(live.onChange(directory, (event) => event === 'child' && onChild()));
    lookSafely();
    watchPlace(held);
  };
  return {
    open,
    report() {
      reports = true;
      if (isOpen) lookSafely();
      else open();
    },
  };
}

/** Shows token and time of a grant to those who inspect, and hears of a removal of its place. */
function watchPlace(held: HeldGrant): void {
  const { live, path } = held;
  const watch = async (): Promise<void> => {
    const read = await live.ask.get(path, true);
    if (!read.ok && read.kind === 'no-node') await loseByForce(held);
  };
  held.onEnd(live.onChange(path, () => void watch()));
  held.onEnd(live.onReconnect(() => void watch()));
  publish(held);
  void watch();
}

/** Writes what is known of a grant into its place; nothing depends on it. */
export function publish(held: HeldGrant): void {
  void held.live.ask.set(held.path, encodePlace(held.data()), ANY_VERSION);
}

/** How many wait behind a grant; undefined when its place has gone. */
export function lookAround(
  held: HeldGrant,
  { names }: NodeChildren,
  inAnyCase = false,
): number | undefined {
  const { places } = lineOf(names, held.directory);
  const standing = standingOf(withDowngraded(places, held.downgraded), held.grant.grantId);
  if (standing.state === 'gone') {
    void loseByForce(held);
    return undefined;
  }
  const waiters = standing.state === 'holds' ? standing.waiters : 0;
  held.noteWaiters(waiters, inAnyCase);
  return waiters;
}

/** Ends a grant whose place was removed, with the reason that whoever did it has left. */
export async function loseByForce(held: HeldGrant): Promise<void> {
  const { live, directory, grant } = held;
  const path = `${directory}/${noticeName(grant.grantId)}`;
  const read = await live.ask.get(path);
  held.end(endedError(grant, read.ok ? forcedBy(read.value.data, path) : 'its place was removed'));
}

function forcedBy(data: Buffer, path: string): string {
  try {
    return `it was ended by force: ${decodeNotice(data, path)}`;
  } catch {
    return 'it was ended by force';
  }
}
