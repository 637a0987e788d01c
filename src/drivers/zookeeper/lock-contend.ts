import type { GrantRequest } from '../../lock/driver.js';
import type { Reply } from './codes.js';
import {
  beginAttempt,
  type Contention,
  contendAtLength,
  type FirstAttempt,
  type WonPlace,
} from './lock-acquire.js';
import { firstTokenOf } from './lock-fence.js';
import type { Look } from './lock-look.js';
import { soon } from './lock-soon.js';

const NOBODY: ReadonlySet<string> = new Set();

/**
 * Contends until the place holds. Most requests are a writer's on a session that is connected, and
 * find nobody there: for them one burst and its answers are all. A request that waits for no longer
 * than that is not given up: the engine returns a grant that it does not want any more.
 */
export function contend(
  contention: Contention,
  request: GrantRequest,
  directory: string,
): Promise<WonPlace | undefined> {
  const { connection, alarms } = contention;
  const live = connection.connected();
  const isPlain = request.wait && request.mode === 'exclusive' && !request.lockDelayMs;
  if (!isPlain || live === undefined) return contendAtLength(contention, request, directory);
  const first = beginAttempt(contention, live, request, directory);
  const { creating, looking } = first.burst;
  return soon(
    { clock: connection.clock, alarms },
    Promise.all([creating, looking]),
    ([created, seen]) => wonAlone(first, created, seen),
    () => contendAtLength(contention, request, directory, first),
  );
}

/**
 * What a writer has won who is alone in the line: nobody holds, nobody left a guard behind, and no
 * reader an epoch. What the zxid is worth to the long way is decided there.
 */
function wonAlone(
  { context, burst }: FirstAttempt,
  created: Reply<string>,
  { children }: Look,
): WonPlace | undefined {
  if (!created.ok || !children.ok) return undefined;
  const { names, stat } = children.value;
  const [name] = names;
  const isAlone = names.length === 1 && created.value === `${context.directory}/${name}`;
  if (name === undefined || !isAlone || stat.dataLength > 0) return undefined;
  if (!Number.isSafeInteger(stat.pzxid)) return undefined;
  return {
    context,
    name,
    fencingToken: firstTokenOf(stat.pzxid),
    validity: { since: burst.since, forMs: context.live.timeoutMs },
    waiters: 0,
    downgraded: NOBODY,
  };
}
