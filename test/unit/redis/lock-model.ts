// A model of the lock on one Redis: the scripts, the client's rules, and a network that reorders,
// delays and loses whatever it carries. Explored whole at small sizes by lock-model.test.ts.
//
// - One server; a script is one step. Requests, replies and pushes are taken in any order, at any
//   later tick, or never, which is a loss. A duplicate is a second send.
// - A node that does nothing while time passes is a pause; one that never acts again is a crash, so
//   each state is also looked at with all other nodes dead.
// - Clocks have no common origin: a node subtracts its own times only.

import type { Model } from './explore.js';
import { holds, ownerOf, scriptsOf } from './lock-model-server.js';

/** Sizes, and the rules under test: each mutant changes one of them. */
export interface Rules {
  readonly nodes: number;
  readonly attempts: number;
  readonly ttl: number;
  readonly provisionalTtl: number;
  readonly waiterTtl: number;
  readonly timeMax: number;
  readonly resends: number;
  readonly heartbeats: number;
  readonly renewals: number;
  /** How many of the nodes may give up. */
  readonly cancels: number;
  readonly restarts: number;
  readonly clockStepBack: number;
  /**
   * A push is dated by the latest send that was answered "queued", without one by the first send;
   * or, wrongly, by its receipt, by the newest send, or by the first send and the whole TTL.
   */
  readonly push: 'its sighting' | 'its receipt' | 'the newest send' | 'the whole TTL';
  /** A reply is dated by the send that it answers; or, wrongly, by the newest one. */
  readonly replyDatedBy: 'its send' | 'the newest send';
  readonly acquireIsIdempotent: boolean;
  readonly acquireWaitsItsTurn: boolean;
  readonly tombstones: boolean;
  readonly releaseLooksAtId: boolean;
  readonly cancelReleases: boolean;
  readonly prunesDead: boolean;
  readonly looksAtLife: boolean;
  readonly heartbeatSettles: boolean;
  readonly fenceFollowsClock: boolean;
  /** False where a restart may make two holders: then only the fence is looked at. */
  readonly expectExclusion: boolean;
}

export const DESIGN: Rules = {
  nodes: 2,
  attempts: 1,
  ttl: 2,
  provisionalTtl: 1,
  waiterTtl: 1,
  timeMax: 3,
  resends: 0,
  heartbeats: 0,
  renewals: 0,
  cancels: 0,
  restarts: 0,
  clockStepBack: 0,
  push: 'its sighting',
  replyDatedBy: 'its send',
  acquireIsIdempotent: true,
  acquireWaitsItsTurn: true,
  tombstones: true,
  releaseLooksAtId: true,
  cancelReleases: true,
  prunesDead: true,
  looksAtLife: true,
  heartbeatSettles: true,
  fenceFollowsClock: true,
  expectExclusion: true,
};

type Verb = 'acquire' | 'heartbeat' | 'renew' | 'release' | 'cancel';
type Phase = 'idle' | 'asked' | 'waiting' | 'held' | 'released' | 'cancelled' | 'gone';

export interface Message {
  readonly kind: 'request' | 'reply' | 'push';
  readonly id: string;
  readonly verb?: Verb;
  readonly sent?: number;
  readonly ambiguous?: boolean;
  readonly answer?: 'held' | 'queued' | 'gone' | 'over';
  readonly fence?: number;
  readonly left?: number;
  /** Of a push and of the answer "queued": the server's clock. */
  readonly ends?: number;
  readonly seen?: number;
}

interface Node {
  phase: Phase;
  attempt: number;
  firstSent: number;
  newestSent: number;
  /** The latest send that was answered "queued", and the server's clock then. */
  sighting: { readonly sent: number; readonly seen: number } | null;
  deadline: number;
  unanswered: number;
  resends: number;
  heartbeats: number;
  renewals: number;
}

export interface State {
  now: number;
  server: {
    holder: { id: string; ends: number } | null;
    line: { id: string; alive: number }[];
    fence: number;
    buried: string[];
    clockBehind: number;
    restarts: number;
  };
  nodes: Node[];
  net: Message[];
  /** What nobody in the system knows: for judging it. */
  ghost: { fence: number; granted: string[]; cancelled: string[]; fault: string | null };
}

const PENDING: readonly Phase[] = ['asked', 'waiting'];
const OVER: readonly Phase[] = ['idle', 'released', 'cancelled', 'gone'];

/** A copy to change; messages are never changed. structuredClone takes ten times as long. */
function copyOf({ now, server, nodes, net, ghost }: State): State {
  const holder = server.holder && { ...server.holder };
  const line = server.line.map((waiter) => ({ ...waiter }));
  return {
    now,
    server: { ...server, holder, line, buried: [...server.buried] },
    nodes: nodes.map((node) => ({ ...node })),
    net: [...net],
    ghost: { ...ghost, granted: [...ghost.granted], cancelled: [...ghost.cancelled] },
  };
}

/** The model under some rules. */
export function lockModel(rules: Rules): Model<State> {
  const run = scriptsOf(rules);
  const fresh = (attempt: number): Node => ({
    phase: 'idle',
    attempt,
    firstSent: 0,
    newestSent: 0,
    sighting: null,
    deadline: 0,
    unanswered: 0,
    resends: rules.resends,
    heartbeats: rules.heartbeats,
    renewals: rules.renewals,
  });
  const nodeOf = (state: State, index: number): Node => state.nodes[index] as Node;
  const idOf = (state: State, index: number): string =>
    `${'abc'.charAt(index)}${nodeOf(state, index).attempt}`;
  const believes = (state: State, index: number): boolean =>
    nodeOf(state, index).phase === 'held' && state.now < nodeOf(state, index).deadline;
  const request = (state: State, index: number, verb: Verb, ambiguous = false): Message => {
    nodeOf(state, index).newestSent = state.now;
    return { kind: 'request', verb, id: idOf(state, index), sent: state.now, ambiguous };
  };

  const sendAcquire = (state: State, index: number): Message => {
    const node = nodeOf(state, index);
    if (OVER.includes(node.phase)) {
      state.nodes[index] = {
        ...fresh(node.attempt + 1),
        ...{ phase: 'asked', firstSent: state.now },
      };
    }
    nodeOf(state, index).unanswered += 1;
    return request(state, index, 'acquire');
  };
  const end = (state: State, index: number, verb: 'release' | 'cancel'): Message => {
    const node = nodeOf(state, index);
    node.phase = verb === 'release' ? 'released' : 'cancelled';
    return request(state, index, verb, node.unanswered > 0);
  };
  const becomeHolder = (state: State, node: Node, deadline: number): void => {
    if (state.now >= deadline) return;
    node.phase = 'held';
    node.deadline = deadline;
  };
  const pushedDeadline = (state: State, node: Node, { ends = 0 }: Message): number => {
    const provisional = Math.min(rules.ttl, rules.provisionalTtl);
    switch (rules.push) {
      case 'its receipt':
        return state.now + provisional;
      case 'the newest send':
        return node.newestSent + provisional;
      default: {
        const { sighting } = node;
        const unseen = rules.push === 'the whole TTL' ? rules.ttl : provisional;
        if (sighting === null) return node.firstSent + unseen;
        return sighting.sent + Math.min(rules.ttl, ends - sighting.seen);
      }
    }
  };
  const receive = (state: State, message: Message): Message | undefined => {
    const index = ownerOf(message.id);
    const node = nodeOf(state, index);
    const { verb, answer, sent = 0, left = 0 } = message;
    if (message.kind === 'push') {
      if (!PENDING.includes(node.phase)) return undefined;
      becomeHolder(state, node, pushedDeadline(state, node, message));
      return undefined;
    }
    if (verb === 'acquire') node.unanswered -= 1;
    if (verb === 'renew') {
      if (answer === 'held' && believes(state, index)) {
        node.deadline = Math.max(node.deadline, sent + left);
      }
      return undefined;
    }
    if (!PENDING.includes(node.phase)) return undefined;
    const datedBy = rules.replyDatedBy === 'its send' ? sent : node.newestSent;
    if (answer === 'held') becomeHolder(state, node, datedBy + left);
    if (answer === 'queued') {
      node.phase = 'waiting';
      node.sighting = { sent, seen: message.seen ?? 0 };
    }
    if (answer === 'gone') node.phase = 'gone';
    return undefined;
  };
  /** A message that nobody will look at is as good as lost. */
  const matters = (state: State, message: Message): boolean => {
    const index = ownerOf(message.id);
    if (message.kind === 'request') return true;
    if (message.id !== idOf(state, index)) return false;
    return !OVER.includes(nodeOf(state, index).phase);
  };

  const next = (state: State): [string, State][] => {
    const steps: [string, State][] = [];
    const step = (label: string, change: (state: State) => Message | undefined): void => {
      const following = copyOf(state);
      const sent = change(following);
      if (sent) following.net.push(sent);
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
        return undefined;
      });
    }
    if (state.server.restarts > 0) step('the server restarts empty', restart);
    for (const [place, message] of state.net.entries()) {
      const label = `${message.kind} ${message.verb ?? 'grant'} ${message.id}`;
      step(label, (following) => {
        const taken = following.net.splice(place, 1)[0] as Message;
        if (taken.kind !== 'request') return receive(following, taken);
        const { verb, id, sent } = taken;
        return { kind: 'reply', verb, id, sent, ...run(following, taken) } as Message;
      });
    }
    for (const index of state.nodes.keys()) actionsOf(state, index, step);
    return steps;
  };
  const restart = (state: State): undefined => {
    state.now += 1;
    state.server = {
      ...state.server,
      ...{ holder: null, line: [], fence: 0, buried: [] },
      clockBehind: rules.clockStepBack,
      restarts: state.server.restarts - 1,
    };
    return undefined;
  };
  const actionsOf = (
    state: State,
    index: number,
    step: (label: string, change: (state: State) => Message | undefined) => void,
  ): void => {
    const { phase, attempt, resends, heartbeats, renewals } = nodeOf(state, index);
    const id = idOf(state, index);
    const spend = (budget: 'resends' | 'heartbeats' | 'renewals', following: State): void => {
      nodeOf(following, index)[budget] -= 1;
    };
    if (OVER.includes(phase) && attempt < rules.attempts) {
      step(`${id} asks anew`, (following) => sendAcquire(following, index));
    }
    if (phase === 'asked' && resends > 0) {
      step(`${id} sends acquire again`, (following) => {
        spend('resends', following);
        return sendAcquire(following, index);
      });
    }
    if (phase === 'waiting' && heartbeats > 0) {
      step(`${id} sends heartbeat`, (following) => {
        spend('heartbeats', following);
        return request(following, index, 'heartbeat');
      });
    }
    if (PENDING.includes(phase) && index < rules.cancels) {
      step(`${id} gives up`, (following) => end(following, index, 'cancel'));
    }
    if (phase === 'held') {
      step(`${id} finishes`, (following) => end(following, index, 'release'));
    }
    if (phase === 'released' && resends > 0) {
      step(`${id} sends release again`, (following) => {
        spend('resends', following);
        return request(following, index, 'release', true);
      });
    }
    if (believes(state, index) && renewals > 0) {
      step(`${id} renews`, (following) => {
        spend('renewals', following);
        return request(following, index, 'renew');
      });
    }
  };

  /** Everything under way is lost and only some nodes go on: does each of them get its turn? */
  const isStuck = (from: State, alive: readonly number[]): boolean => {
    const state = copyOf(from);
    const due = new Set(alive.filter((index) => PENDING.includes(nodeOf(state, index).phase)));
    const call = (sent: Message): void => {
      state.net = [];
      receive(state, { ...sent, kind: 'reply', ...run(state, sent) });
      state.net = [];
    };
    const bound = rules.nodes * 2 * rules.ttl + rules.waiterTtl + 2;
    for (let round = 0; round <= bound && due.size > 0; round += 1) {
      for (const index of alive) {
        const { phase } = nodeOf(state, index);
        if (phase === 'gone' || phase === 'asked') call(sendAcquire(state, index));
        else if (phase === 'waiting') call(request(state, index, 'heartbeat'));
        else if (phase === 'held') call(end(state, index, 'release'));
        if (['held', 'released'].includes(nodeOf(state, index).phase)) due.delete(index);
      }
      state.now += 1;
    }
    return due.size > 0;
  };

  const faultOf = (state: State): string | undefined => {
    const { ghost, server } = state;
    if (ghost.fault !== null) return ghost.fault;
    const isThere = (id: string): boolean =>
      holds(state, id) || server.line.some((waiter) => waiter.id === id);
    if (ghost.cancelled.some(isThere)) return 'who gave up holds or waits';
    if (!rules.expectExclusion) return undefined;
    const everybody = [...state.nodes.keys()];
    const believers = everybody.filter((index) => believes(state, index));
    if (believers.length > 1) return 'two nodes believe that they hold';
    const wrong = believers.find((index) => !holds(state, idOf(state, index)));
    if (wrong !== undefined) return `${idOf(state, wrong)} believes that it holds, wrongly`;
    return whoIsStuck(state, everybody);
  };
  /** What is under way does not matter to it, as it is lost; so most states have been looked at. */
  const known = new Map<string, string | undefined>();
  const whoIsStuck = (state: State, everybody: readonly number[]): string | undefined => {
    const key = JSON.stringify([state.now, state.server, state.nodes]);
    if (known.has(key)) return known.get(key);
    const stuck = everybody.find((index) => isStuck(state, [index]));
    let fault: string | undefined;
    if (stuck !== undefined) fault = `${idOf(state, stuck)} alone never gets its turn`;
    else if (isStuck(state, everybody)) fault = 'somebody never gets its turn';
    known.set(key, fault);
    return fault;
  };

  const initial: State = {
    now: 0,
    server: {
      holder: null,
      line: [],
      fence: 0,
      buried: [],
      clockBehind: 0,
      restarts: rules.restarts,
    },
    nodes: Array.from({ length: rules.nodes }, () => fresh(0)),
    net: [],
    ghost: { fence: 0, granted: [], cancelled: [], fault: null },
  };
  return { initial, next, faultOf };
}
