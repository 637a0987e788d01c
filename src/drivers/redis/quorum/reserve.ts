import { remainingMs } from '../../../core/clock.js';
import type { Grant } from '../../../lock/driver.js';
import { unknown } from '../errors.js';
import { markerOf, type QuorumContext, timeoutMsOf } from './context.js';
import { gather } from './gather.js';
import type { HeldGrants } from './held.js';
import { parseHold } from './reply.js';
import { judgeHolds, majorityOf } from './rules.js';
import { WRITE_BACK } from './write-back.js';

/**
 * A further block of tokens, right above the last one: whoever is granted later reads it from one of
 * the nodes at least, and nobody was granted since. Undefined when the grant was lost.
 */
export async function reserve(
  { context, grants }: { readonly context: QuorumContext; readonly grants: HeldGrants },
  grant: Grant,
  tokens: number,
): Promise<bigint | undefined> {
  const { node, nodes, keys, times } = context;
  const held = grants.get(grant.grantId);
  if (held === undefined || remainingMs(node.clock, held.validity) <= 0) return undefined;
  const first = held.lastToken + 1n;
  // Also if it fails: what may stand on some node is never given to anybody else.
  held.lastToken += BigInt(tokens);
  const last = String(held.lastToken);
  const token = String(grant.fencingToken);
  const values = [grant.grantId, times.ttlMsMax, node.random.token(11), token, last];
  const scriptKeys = [keys.key(grant.resource), markerOf(context)];
  const timeoutMs = timeoutMsOf(times, held.ttlMs);
  return gather(
    nodes,
    async (one) =>
      parseHold(
        await held.sends.run(one, WRITE_BACK, scriptKeys, values, timeoutMs),
        grant.resource,
      ),
    (answers, isAll) => {
      const states = answers.map((answer) => answer && (answer.ok ? answer.reply.state : 'silent'));
      const verdict = judgeHolds(states.map((state) => state && state === 'held'));
      // Like any grant: the answers may have come after its end.
      if (verdict.state === 'won' && remainingMs(node.clock, held.validity) > 0) {
        return { first };
      }
      const lost = states.filter((state) => state === 'lost').length;
      if (verdict.state === 'won' || lost >= majorityOf(nodes.length)) return { first: undefined };
      if (isAll) throw unknown('lock.reserve', 'fewer than a majority answered');
      return undefined;
    },
  ).then((outcome) => outcome.first);
}
