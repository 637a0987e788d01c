// The quorum lock as a system with a finite number of states: clients that vote, choose, write back,
// return, renew and release, on three nodes that may lose their state. What the clients conclude is the
// production code (rules.ts); what the nodes do follows the scripts. A client may stop between any two
// steps, so each of its steps stands for itself; a message takes effect and its reply may be lost.

import { judgeHolds, judgeVotes, type Vote } from '../../src/drivers/redis/quorum/rules.js';
import type { Model } from './redis/explore.js';
import {
  type Back,
  type Client,
  isLocked,
  type Known,
  type Node,
  read,
  type State,
  written,
} from './redis-quorum-state.js';

/** What the protocol does, and how large the system is. The first part has one mutant a line. */
export interface QuorumRules {
  /** The write-back is refused, and does not count, where the vote is no longer held. */
  readonly heldCheck: boolean;
  /** The local deadline is compared again after the write-back, and after a renewal. */
  readonly deadlineCheck: boolean;
  /** The tokens are written back to a majority before they are handed out. */
  readonly writesBack: boolean;
  /** A node that lost its state takes no part for one TTL. */
  readonly staysOut: boolean;
  /** A node proposes its clock where that is ahead of its counter. */
  readonly proposesClock: boolean;
  /** A vote that is sent again to the same client does not begin anew. */
  readonly countsFromFirstSend: boolean;
  readonly clients: number;
  readonly ttl: number;
  readonly timeMax: number;
  /** Replies that may be lost in all. */
  readonly lostReplies: number;
  readonly restarts: number;
  readonly renewals: number;
  /** By how much each node's clock is ahead. */
  readonly skew: readonly [number, number, number];
  /** Whether two valid holders are a fault; a run for the tokens alone may look past them. */
  readonly expectsExclusion: boolean;
}

export const DESIGN: QuorumRules = {
  heldCheck: true,
  deadlineCheck: true,
  writesBack: true,
  staysOut: true,
  proposesClock: true,
  countsFromFirstSend: true,
  clients: 2,
  ttl: 1,
  timeMax: 2,
  lostReplies: 0,
  restarts: 0,
  renewals: 0,
  skew: [0, 0, 0],
  expectsExclusion: true,
};

/** Tokens that a clock allows for in one tick. */
const TOKENS_PER_TICK = 4;

type Steps = [label: string, state: string][];

export function quorumModel(rules: QuorumRules): Model<string> {
  const initial: State = {
    now: 0,
    restarts: rules.restarts,
    losses: rules.lostReplies,
    lastToken: 0,
    fault: null,
    nodes: rules.skew.map((skew) => newNode(rules, skew, 0)),
    clients: Array.from({ length: rules.clients }, () => ({
      ...{ phase: 'idle' as const, since: 0, renewedSince: 0, token: 0 },
      renewals: rules.renewals,
    })),
  };
  return {
    initial: written(initial),
    next: (text) => stepsOf(rules, read(rules.clients, text)),
    faultOf(text) {
      const state = read(rules.clients, text);
      return state.fault ?? overlapOf(rules, state);
    },
  };
}

function newNode({ clients }: QuorumRules, skew: number, upAt: number): Node {
  const nothing = Array.from({ length: clients }, () => null);
  return { owner: null, ends: 0, counter: 0, upAt, skew, votes: [...nothing], backs: [...nothing] };
}

function overlapOf(rules: QuorumRules, { clients, now }: State): string | undefined {
  const relying = clients.filter(
    ({ phase, since }) => (phase === 'held' || phase === 'renewing') && now < since + rules.ttl,
  );
  return relying.length > 1 && rules.expectsExclusion ? 'two clients rely on the lock' : undefined;
}

function stepsOf(rules: QuorumRules, state: State): Steps {
  const steps: Steps = [];
  const add = (label: string, change: (next: State) => void): void => {
    const next = structuredCloneOf(state);
    change(next);
    steps.push([label, written(next)]);
  };
  if (state.now < rules.timeMax) {
    add('tick', (next) => {
      next.now += 1;
    });
  }
  for (const [n, node] of state.nodes.entries()) {
    if (state.restarts === 0 || node.upAt > state.now) continue;
    add(`node ${n} restarts empty`, (next) => restart(rules, next, n));
  }
  for (const [c, client] of state.clients.entries()) clientSteps({ rules, state, c, client, add });
  return steps;
}

interface Turn {
  readonly rules: QuorumRules;
  readonly state: State;
  readonly c: number;
  readonly client: Client;
  add(label: string, change: (next: State) => void): void;
}

function clientSteps(turn: Turn): void {
  const { state, c, client, add } = turn;
  const { phase } = client;
  // Clients are alike: they begin in order.
  if (phase === 'idle' && state.clients[c - 1]?.phase !== 'idle') {
    add(`c${c} begins`, (next) => {
      Object.assign(at(next, c), { phase: 'voting', since: next.now });
    });
  }
  if (phase === 'voting') votingSteps(turn);
  if (phase === 'writing') writingSteps(turn);
  if (phase === 'renewing') renewingSteps(turn);
  if (phase === 'held' && client.renewals > 0) {
    add(`c${c} begins to renew`, (next) => beginRenewal(next, c));
  }
  if (phase === 'held' || phase === 'over') releaseSteps(turn);
}

function votingSteps({ rules, state, c, add }: Turn): void {
  for (const [n, node] of state.nodes.entries()) {
    const isMine = node.owner === c;
    const isOpen = node.votes[c] === null || (node.votes[c] === 'lost' && isMine);
    if (!isOpen || node.upAt > state.now || (isLocked(node, state.now) && !isMine)) continue;
    add(`c${c} gets the vote of ${n}`, (next) => vote(rules, next, c, n, false));
    if (state.losses > 0 && node.votes[c] === null) {
      add(`c${c} gets the vote of ${n}, reply lost`, (next) => vote(rules, next, c, n, true));
    }
  }
  if (state.nodes.some((node) => node.owner === c)) add(`c${c} gives up`, (next) => end(next, c));
}

function voteOf(known: Known): Vote | undefined {
  if (known === null) return undefined;
  return known === 'lost' ? { kind: 'silent' } : { kind: 'yes', proposal: BigInt(known) };
}

function vote(rules: QuorumRules, state: State, c: number, n: number, isLost: boolean): void {
  const node = nodeAt(state, n);
  const isNew = node.owner !== c || !isLocked(node, state.now);
  if (isNew || !rules.countsFromFirstSend) node.ends = state.now + rules.ttl;
  node.owner = c;
  const clock = (state.now + node.skew) * TOKENS_PER_TICK;
  const proposal = rules.proposesClock ? Math.max(node.counter, clock) : node.counter;
  node.votes[c] = isLost ? 'lost' : proposal;
  if (isLost) state.losses -= 1;
  // The mutant dates the lease by its newest send.
  if (!rules.countsFromFirstSend) at(state, c).since = state.now;
  // Nobody can see whether the client pauses between the winning vote and its conclusion.
  const verdict = judgeVotes(state.nodes.map((one) => voteOf(one.votes[c] ?? null)));
  if (verdict.state === 'won') choose(rules, state, c, Number(verdict.token));
}

function choose(rules: QuorumRules, state: State, c: number, token: number): void {
  at(state, c).token = token;
  at(state, c).phase = 'writing';
  for (const node of state.nodes) node.votes[c] = null;
  if (!rules.writesBack) hand(rules, state, c);
}

function writingSteps({ rules, state, c, client, add }: Turn): void {
  for (const [n, node] of state.nodes.entries()) {
    if (node.backs[c] !== null || node.upAt > state.now) continue;
    if (!isLocked(node, state.now)) {
      add(`c${c} gets the vote of ${n}, too late`, (next) => takeLate(rules, next, c, n));
    }
    add(`c${c} writes ${client.token} to ${n}`, (next) => writeBack(rules, next, c, n, false));
    if (state.losses === 0) continue;
    add(`c${c} writes ${client.token} to ${n}, reply lost`, (next) =>
      writeBack(rules, next, c, n, true),
    );
  }
  if (judgeHolds(backsOf(state, c)).state !== 'won') return;
  add(`c${c} returns ${client.token}`, (next) => hand(rules, next, c));
}

/** A vote that was still under way when the others were enough. */
function takeLate(rules: QuorumRules, state: State, c: number, n: number): void {
  const node = nodeAt(state, n);
  // A copy of an earlier vote, whose time has run out, is refused by its tombstone.
  if (node.owner === c) return;
  node.owner = c;
  node.ends = state.now + rules.ttl;
}

function writeBack(rules: QuorumRules, state: State, c: number, n: number, isLost: boolean): void {
  const node = nodeAt(state, n);
  const client = at(state, c);
  const holds = node.owner === c && isLocked(node, state.now);
  const isTaken = holds || !rules.heldCheck;
  if (isTaken) node.counter = Math.max(node.counter, client.token);
  note(state, c, node, isLost ? 'lost' : isTaken);
}

function hand(rules: QuorumRules, state: State, c: number): void {
  const client = at(state, c);
  if (rules.deadlineCheck && state.now >= client.since + rules.ttl) {
    end(state, c);
    return;
  }
  if (client.token <= state.lastToken) {
    state.fault = `token ${client.token} is handed out after ${state.lastToken}`;
  }
  state.lastToken = Math.max(state.lastToken, client.token);
  client.phase = 'held';
  for (const node of state.nodes) node.backs[c] = null;
}

function beginRenewal(state: State, c: number): void {
  const client = at(state, c);
  Object.assign(client, {
    phase: 'renewing',
    renewedSince: state.now,
    renewals: client.renewals - 1,
  });
}

function renewingSteps({ rules, state, c, add }: Turn): void {
  for (const [n, node] of state.nodes.entries()) {
    if (node.backs[c] !== null || node.upAt > state.now) continue;
    add(`c${c} renews on ${n}`, (next) => renew(rules, next, c, n, false));
    if (state.losses > 0)
      add(`c${c} renews on ${n}, reply lost`, (next) => renew(rules, next, c, n, true));
  }
  if (judgeHolds(backsOf(state, c)).state !== 'won') return;
  add(`c${c} has renewed`, (next) => finishRenewal(rules, next, c));
}

function renew(rules: QuorumRules, state: State, c: number, n: number, isLost: boolean): void {
  const node = nodeAt(state, n);
  const client = at(state, c);
  const isFree = !isLocked(node, state.now);
  // What has expired here stays expired; what was never here, or was forgotten, is taken up.
  const isExpired = isFree && node.owner === c;
  const isTaken = (!isFree && node.owner === c) || (isFree && !isExpired);
  if (isTaken) {
    node.owner = c;
    node.ends = state.now + rules.ttl;
    node.counter = Math.max(node.counter, client.token);
  }
  note(state, c, node, isLost ? 'lost' : isTaken);
}

function note(state: State, c: number, node: Node, back: Back): void {
  node.backs[c] = back;
  if (back === 'lost') state.losses -= 1;
  if (judgeHolds(backsOf(state, c)).state === 'failed') end(state, c);
}

function finishRenewal(rules: QuorumRules, state: State, c: number): void {
  const client = at(state, c);
  if (rules.deadlineCheck && state.now >= client.since + rules.ttl) {
    end(state, c);
    return;
  }
  Object.assign(client, { phase: 'held', since: client.renewedSince, renewedSince: 0 });
  for (const node of state.nodes) node.backs[c] = null;
}

function releaseSteps({ state, c, add }: Turn): void {
  for (const [n, node] of state.nodes.entries()) {
    if (node.owner !== c || node.upAt > state.now) continue;
    add(`c${c} releases on ${n}`, (next) => {
      end(next, c);
      nodeAt(next, n).owner = null;
    });
  }
}

/** It relies on nothing any more; what it does not remember makes no difference. */
function end(state: State, c: number): void {
  Object.assign(at(state, c), {
    ...{ phase: 'over', since: 0, renewedSince: 0, token: 0, renewals: 0 },
  });
  for (const node of state.nodes) {
    node.votes[c] = null;
    node.backs[c] = null;
  }
}

function restart(rules: QuorumRules, state: State, n: number): void {
  state.restarts -= 1;
  const old = nodeAt(state, n);
  const node = newNode(rules, old.skew, rules.staysOut ? state.now + rules.ttl : state.now);
  // Replies that were received stay received.
  node.votes.splice(0, rules.clients, ...old.votes);
  node.backs.splice(0, rules.clients, ...old.backs);
  state.nodes[n] = node;
}

function backsOf(state: State, c: number): (boolean | undefined)[] {
  return state.nodes.map((node) => {
    const back = node.backs[c] ?? null;
    return back === null ? undefined : back === true;
  });
}

function at(state: State, c: number): Client {
  return state.clients[c] as Client;
}

function nodeAt(state: State, n: number): Node {
  return state.nodes[n] as Node;
}

function structuredCloneOf({ nodes, clients, ...rest }: State): State {
  return {
    ...rest,
    nodes: nodes.map((node) => ({ ...node, votes: [...node.votes], backs: [...node.backs] })),
    clients: clients.map((client) => ({ ...client })),
  };
}
