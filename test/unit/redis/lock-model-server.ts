// The server's half of the lock model: what the scripts do, in ticks of the server's clock.

import type { Message, Rules, State } from './lock-model.js';

const clockTokensPerTick = 10;

export const ownerOf = (id: string): number => 'abc'.indexOf(id.charAt(0));

export const holds = ({ server, now }: State, id: string): boolean =>
  server.holder?.id === id && server.holder.ends > now;

/** The scripts of the driver over one resource, each an atomic step on the state. */
export function scriptsOf(rules: Rules) {
  const bury = ({ server }: State, id: string): void => {
    if (rules.tombstones && !server.buried.includes(id)) server.buried.push(id);
  };
  const blame = (state: State, fault: string): void => {
    state.ghost.fault ??= fault;
  };

  const writeGrant = (state: State, id: string, ttl: number): number => {
    const { server, ghost, now } = state;
    const clock = rules.fenceFollowsClock ? (now + 5 - server.clockBehind) * clockTokensPerTick : 0;
    server.fence = Math.max(server.fence + 1, clock);
    const place = server.line.findIndex((waiter) => waiter.id === id);
    const overtaken = server.line.find(
      (waiter, index) => waiter.id !== id && waiter.alive > now && (place < 0 || index < place),
    );
    if (overtaken) blame(state, `${id} overtook ${overtaken.id}, who is alive`);
    if (place >= 0 && (server.line[place]?.alive ?? 0) <= now) blame(state, `${id} is dead`);
    if (server.fence <= ghost.fence) blame(state, `fence ${server.fence} after ${ghost.fence}`);
    if (ghost.granted.includes(id)) blame(state, `${id} was granted twice`);
    if (server.holder && server.holder.ends > now) blame(state, 'two holders on the server');
    ghost.fence = server.fence;
    ghost.granted.push(id);
    server.line = server.line.filter((waiter) => waiter.id !== id);
    server.holder = { id, ends: now + ttl };
    return now + ttl;
  };
  const expire = (state: State): void => {
    const { server, now } = state;
    if (!server.holder || server.holder.ends > now) return;
    bury(state, server.holder.id);
    server.holder = null;
  };
  const settle = (state: State, caller: string): void => {
    const { server, now } = state;
    expire(state);
    while (!server.holder && server.line[0]) {
      const { id, alive } = server.line[0];
      if (alive <= now && rules.looksAtLife) {
        if (!rules.prunesDead) return;
        server.line.shift();
        continue;
      }
      const ends = writeGrant(state, id, Math.min(rules.ttl, rules.provisionalTtl));
      if (id !== caller) state.net.push({ kind: 'push', id, ends });
    }
  };
  const refresh = ({ server, now }: State, id: string): void => {
    const waiter = server.line.find((other) => other.id === id);
    if (waiter) waiter.alive = now + rules.waiterTtl;
  };
  /** Who asks under the id that holds is heard from: it holds for its whole TTL again. */
  const heldReply = (state: State): Partial<Message> => {
    if (state.server.holder) state.server.holder.ends = state.now + rules.ttl;
    return { answer: 'held', fence: state.server.fence, left: rules.ttl };
  };

  const acquire = (state: State, id: string): Partial<Message> => {
    const { server, now } = state;
    if (server.buried.includes(id)) return { answer: 'gone' };
    if (rules.acquireIsIdempotent && holds(state, id)) return heldReply(state);
    refresh(state, id);
    if (!rules.acquireWaitsItsTurn) {
      expire(state);
      if (!server.holder) writeGrant(state, id, rules.ttl);
    }
    settle(state, id);
    if (server.buried.includes(id)) return { answer: 'gone' };
    if (rules.acquireIsIdempotent && holds(state, id)) return heldReply(state);
    if (!server.holder && server.line.length === 0) {
      writeGrant(state, id, rules.ttl);
      return heldReply(state);
    }
    if (!server.line.some((waiter) => waiter.id === id)) {
      server.line.push({ id, alive: now + rules.waiterTtl });
    }
    return { answer: 'queued', seen: now };
  };
  const heartbeat = (state: State, id: string): Partial<Message> => {
    refresh(state, id);
    if (rules.heartbeatSettles) settle(state, id);
    if (holds(state, id)) return heldReply(state);
    if (!state.server.line.some((waiter) => waiter.id === id)) return { answer: 'gone' };
    return { answer: 'queued', seen: state.now };
  };
  const release = (state: State, id: string, ambiguous: boolean): Partial<Message> => {
    const { holder } = state.server;
    const own = holder?.id === id;
    if (holder && !own && !rules.releaseLooksAtId && holder.ends > state.now) {
      blame(state, `the release of ${id} ended the grant of ${holder.id}`);
    }
    if (own || !rules.releaseLooksAtId) state.server.holder = null;
    if (ambiguous) bury(state, id);
    settle(state, id);
    return { answer: 'over' };
  };
  const cancel = (state: State, id: string): Partial<Message> => {
    const { server } = state;
    server.line = server.line.filter((waiter) => waiter.id !== id);
    if (rules.cancelReleases && server.holder?.id === id) server.holder = null;
    bury(state, id);
    state.ghost.cancelled.push(id);
    settle(state, id);
    return { answer: 'over' };
  };
  const renew = (state: State, id: string): Partial<Message> =>
    holds(state, id) ? heldReply(state) : { answer: 'gone' };

  return (state: State, { verb, id, ambiguous }: Message): Partial<Message> => {
    switch (verb) {
      case 'acquire':
        return acquire(state, id);
      case 'heartbeat':
        return heartbeat(state, id);
      case 'release':
        return release(state, id, ambiguous ?? false);
      case 'cancel':
        return cancel(state, id);
      default:
        return renew(state, id);
    }
  };
}
