// A model of readers and writers on one Redis: what the scripts grant to whom, in what order, with
// what token, and what a downgrade lets a node believe. Explored whole by lock-modes-model.test.ts.
//
// - A script is one step. Requests, replies and pushes are taken in any order, at any later tick, or
//   never. A node that stops acting has crashed; what it held ends by its TTL.
// - Each node asks once, as a reader or as a writer. Deadlines are those of lock-model.ts.

import type { Model } from './explore.js';

export interface ModeRules {
  /** `w` writes, `r` reads, `d` writes and may become a reader. */
  readonly nodes: readonly ('w' | 'r' | 'd')[];
  readonly ttl: number;
  readonly timeMax: number;
  readonly heartbeats: number;
  /** Whoever comes while others wait stands behind them; or, wrongly, readers join readers. */
  readonly lineFirst: boolean;
  /** A downgrade carries the last token; or, wrongly, a new one that readers before it do not have. */
  readonly epoch: 'one' | 'each its own';
  /** From the sending of a downgrade on the node is a reader; or, wrongly, from its answer on. */
  readonly readsFrom: 'sending' | 'answer';
  /** A downgrade serves the readers at the head of the line; or, wrongly, nobody. */
  readonly downgradeSettles: boolean;
  /** A writer takes all; or, wrongly, one share like a reader. */
  readonly writerTakesAll: boolean;
}

export const MODES: ModeRules = {
  nodes: ['w', 'r'],
  ttl: 2,
  timeMax: 2,
  heartbeats: 0,
  lineFirst: true,
  epoch: 'one',
  readsFrom: 'sending',
  downgradeSettles: true,
  writerTakesAll: true,
};

type Kind = 'w' | 'r';
type Verb = 'acquire' | 'heartbeat' | 'downgrade' | 'release';

interface Message {
  readonly to: 'server' | 'node';
  readonly verb: Verb | 'push';
  readonly node: number;
  readonly sent: number;
  readonly held?: boolean;
  readonly left?: number;
  readonly ends?: number;
  readonly seen?: number;
}

interface Node {
  phase: 'idle' | 'asked' | 'held' | 'over';
  kind: Kind;
  deadline: number;
  firstSent: number;
  sighting: { readonly sent: number; readonly seen: number } | null;
  heartbeats: number;
}

export interface ModeState {
  now: number;
  holders: { node: number; kind: Kind; ends: number; token: number }[];
  line: number[];
  last: number;
  isEpoch: boolean;
  nodes: Node[];
  net: Message[];
  fault: string | null;
}

/** A copy to change; messages are never changed. structuredClone takes ten times as long. */
const copyOf = (state: ModeState): ModeState => ({
  ...state,
  holders: state.holders.map((holder) => ({ ...holder })),
  line: [...state.line],
  nodes: state.nodes.map((node) => ({ ...node })),
  net: [...state.net],
});
const nodeOf = (state: ModeState, index: number): Node => state.nodes[index] as Node;
const nameOf = (state: ModeState, index: number): string =>
  `${nodeOf(state, index).kind === 'w' ? 'writer' : 'reader'} ${index}`;
const liveOf = ({ holders, now }: ModeState) => holders.filter(({ ends }) => ends > now);
const believes = ({ now }: ModeState, { phase, deadline }: Node): boolean =>
  phase === 'held' && now < deadline;

/** The server's half: each verb is one step on the state. */
function scriptsOf(rules: ModeRules) {
  const fits = (state: ModeState, kind: Kind): boolean =>
    state.holders.length === 0 ||
    (!rules.writerTakesAll && kind === 'w') ||
    (kind === 'r' && state.holders.every((holder) => holder.kind === 'r'));
  const grant = (state: ModeState, node: number): void => {
    const { kind } = nodeOf(state, node);
    const isNew = kind === 'w' || !state.isEpoch || rules.epoch === 'each its own';
    if (isNew) state.last += 1;
    state.isEpoch = kind === 'r';
    const ahead = state.line.slice(0, Math.max(state.line.indexOf(node), 0));
    const inFront = state.line.includes(node) ? ahead : state.line;
    if (inFront.length > 0) state.fault ??= `${nameOf(state, node)} overtook who waits`;
    state.line = state.line.filter((other) => other !== node);
    state.holders.push({ node, kind, ends: state.now + rules.ttl, token: state.last });
  };
  const settle = (state: ModeState, caller: number): void => {
    state.holders = liveOf(state);
    for (let head = state.line[0]; head !== undefined; head = state.line[0]) {
      if (!fits(state, nodeOf(state, head).kind)) return;
      grant(state, head);
      const ends = state.now + rules.ttl;
      if (head !== caller) {
        state.net.push({ to: 'node', verb: 'push', node: head, sent: 0, held: true, ends });
      }
    }
  };
  const answer = (state: ModeState, node: number): Partial<Message> => {
    const own = state.holders.find((holder) => holder.node === node);
    if (own === undefined) return { held: false, seen: state.now };
    return { held: true, left: own.ends - state.now };
  };
  const downgrade = (state: ModeState, node: number): void => {
    const own = liveOf(state).find((holder) => holder.node === node);
    if (own === undefined) return;
    if (rules.epoch === 'each its own') state.last += 1;
    own.token = state.last;
    own.kind = 'r';
    state.isEpoch = true;
    if (rules.downgradeSettles) settle(state, node);
  };
  return (state: ModeState, { verb, node }: Message): Partial<Message> => {
    const mayJoin = (kind: Kind): boolean =>
      fits(state, kind) && (state.line.length === 0 || (!rules.lineFirst && kind === 'r'));
    if (verb === 'downgrade') downgrade(state, node);
    else if (verb === 'release') {
      state.holders = state.holders.filter((holder) => holder.node !== node);
      settle(state, node);
    } else {
      settle(state, node);
      const isKnown = state.line.includes(node) || state.holders.some((own) => own.node === node);
      if (verb === 'acquire' && !isKnown) {
        if (mayJoin(nodeOf(state, node).kind)) grant(state, node);
        else state.line.push(node);
      }
    }
    return answer(state, node);
  };
}

/** The model under some rules. */
export function modesModel(rules: ModeRules): Model<ModeState> {
  const run = scriptsOf(rules);
  const receive = (state: ModeState, message: Message): void => {
    const node = nodeOf(state, message.node);
    const { verb, held, sent, left = 0, ends = 0, seen = 0 } = message;
    if (verb === 'downgrade') {
      if (held && node.phase === 'held') node.kind = 'r';
      return;
    }
    if (node.phase !== 'asked') return;
    if (!held) {
      node.sighting = { sent, seen };
      return;
    }
    const { sighting, firstSent } = node;
    const pushed =
      sighting === null
        ? firstSent + rules.ttl
        : sighting.sent + Math.min(rules.ttl, ends - sighting.seen);
    node.phase = 'held';
    node.deadline = verb === 'push' ? pushed : sent + left;
  };
  const actions = (
    state: ModeState,
    index: number,
  ): (readonly [string, (s: ModeState) => void])[] => {
    const node = nodeOf(state, index);
    const send = (verb: Verb, change: (own: Node) => void) => (following: ModeState) => {
      change(nodeOf(following, index));
      following.net.push({ to: 'server', verb, node: index, sent: following.now });
    };
    const name = nameOf(state, index);
    if (node.phase === 'idle') {
      const asks = (own: Node): void => {
        own.phase = 'asked';
        own.firstSent = state.now;
      };
      return [[`${name} asks`, send('acquire', asks)]];
    }
    if (node.phase === 'asked' && node.heartbeats > 0) {
      const beats = (own: Node): void => {
        own.heartbeats -= 1;
      };
      return [[`${name} sends a heartbeat`, send('heartbeat', beats)]];
    }
    if (!believes(state, node)) return [];
    const ends = (own: Node): void => {
      own.phase = 'over';
    };
    const reads = (own: Node): void => {
      if (rules.readsFrom === 'sending') own.kind = 'r';
    };
    const steps = [[`${name} releases`, send('release', ends)] as const];
    const mayRead = rules.nodes[index] === 'd' && node.kind === 'w';
    return mayRead ? [...steps, [`${name} downgrades`, send('downgrade', reads)]] : steps;
  };
  /** A message that nobody will look at is as good as lost. */
  const matters = (state: ModeState, { to, verb, node }: Message): boolean => {
    const { phase, kind } = nodeOf(state, node);
    if (to === 'server') return true;
    return verb === 'downgrade' ? kind === 'w' && phase === 'held' : phase === 'asked';
  };
  const next = (state: ModeState): (readonly [string, ModeState])[] => {
    const steps: [string, ModeState][] = [];
    const step = (label: string, change: (following: ModeState) => void): void => {
      const following = copyOf(state);
      change(following);
      // The order in the list means nothing: a network takes whatever it likes.
      following.net = following.net
        .filter((message) => matters(following, message))
        .map((message) => [JSON.stringify(message), message] as const)
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([, message]) => message);
      steps.push([label, following]);
    };
    if (state.now < rules.timeMax) {
      step('tick', (following) => {
        following.now += 1;
      });
    }
    for (const [place, { to, verb, node }] of state.net.entries()) {
      step(`${to} takes ${verb} ${node}`, (following) => {
        const [message] = following.net.splice(place, 1) as [Message];
        if (message.to === 'node') receive(following, message);
        else following.net.push({ ...message, to: 'node', ...run(following, message) });
      });
    }
    for (const index of state.nodes.keys()) {
      for (const [label, change] of actions(state, index)) step(label, change);
    }
    return steps;
  };
  const faultOf = (state: ModeState): string | undefined => {
    if (state.fault !== null) return state.fault;
    const believers = state.nodes.filter((node) => believes(state, node));
    const isWritten = believers.some(({ kind }) => kind === 'w');
    if (isWritten && believers.length > 1)
      return 'a writer believes that it holds, and another too';
    const readers = liveOf(state).filter(({ kind }) => kind === 'r');
    if (new Set(readers.map(({ token }) => token)).size > 1) return 'two tokens in one epoch';
    const [head] = state.line;
    const isReader = head !== undefined && nodeOf(state, head).kind === 'r';
    if (isReader && readers.length > 0 && readers.length === state.holders.length) {
      return `${nameOf(state, head)} is first in line, behind nobody but readers`;
    }
    return undefined;
  };
  const initial: ModeState = {
    ...{ now: 0, holders: [], line: [], last: 0, isEpoch: false, net: [], fault: null },
    nodes: rules.nodes.map((kind) => ({
      ...{ phase: 'idle', deadline: 0, firstSent: 0, sighting: null },
      kind: kind === 'r' ? 'r' : 'w',
      heartbeats: rules.heartbeats,
    })),
  };
  return { initial, next, faultOf };
}
