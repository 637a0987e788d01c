import {
  type CallEvent,
  type CallRecord,
  callAfter,
} from '../../../../src/transaction/remote/call-record.js';
import {
  SERVED_START,
  type ServedEffect,
  type ServedEvent,
  type ServedState,
  served,
} from '../../../../src/transaction/remote/serve-machine.js';
import type { Model } from '../explore.js';

/** What became of the branch that one attempt made in the servers' database. */
type BranchState = 'none' | 'prepared' | 'committed' | 'aborted';

/** A server: what it has in hand. */
interface Server {
  readonly isAlive: boolean;
  readonly attempt: number;
  readonly state: ServedState | null;
  readonly pending: readonly ServedEffect['type'][];
}

/** One call, its caller, two servers of one database, the log. Branches are indexed by attempt. */
export interface CallWorld {
  readonly record: CallRecord | null;
  /** The attempt whose branch the commit record names; 0 without a record. */
  readonly decided: number;
  readonly isFenced: boolean;
  readonly caller: 'calling' | 'deciding' | 'committed' | 'aborted' | 'done' | 'dead';
  readonly servers: readonly [Server, Server];
  readonly branches: readonly BranchState[];
  readonly crashes: number;
}

const IDLE: Server = { isAlive: true, attempt: 0, state: null, pending: [] };
const CRASHES_MAX = 2;
const ATTEMPTS = 3;
const NAMES = ['first', 'second'] as const;

const START: CallWorld = {
  record: {
    callId: 'call',
    service: 'inventory',
    writeId: 'create',
    state: 'open',
    attempt: 0,
    caller: 'caller',
    server: '',
    deadlineMs: 0,
    payload: '1',
  },
  decided: 0,
  isFenced: false,
  caller: 'calling',
  servers: [IDLE, IDLE],
  branches: Array.from({ length: ATTEMPTS + 1 }, () => 'none' as const),
  crashes: 0,
};

type Steps = (readonly [label: string, next: CallWorld])[];

/** One call, in which everybody may be slow, suspected, or dead at any moment. */
export function callModel(): Model<CallWorld> {
  return {
    start: START,
    steps: (world) => [
      ...callerSteps(world),
      ...NAMES.flatMap((_, who) => serverSteps(world, who)),
    ],
    violation,
    isSettled: ({ caller, branches, record }) =>
      (caller === 'done' || caller === 'dead') &&
      !branches.includes('prepared') &&
      !(record?.state === 'voted' && record.vote?.vote === 'yes'),
  };
}

function violation(world: CallWorld): string | undefined {
  const { branches, decided, caller } = world;
  const committed = branches.filter((each) => each === 'committed').length;
  if (committed > 1) return 'two attempts of one call are committed';
  if (branches.some((each, attempt) => each === 'committed' && attempt !== decided)) {
    return 'a branch is committed that no decision names';
  }
  if (decided > 0 && branches[decided] === 'aborted') return 'a decided branch is rolled back';
  if (decided > 0 && branches[decided] === 'none') return 'a decided branch was never prepared';
  if (caller === 'committed' && decided === 0) return 'told committed, and there is no decision';
  if (caller === 'aborted' && decided > 0) return 'told aborted, and there is a decision';
  if (caller === 'done' && decided > 0 && branches[decided] !== 'committed') {
    return 'acknowledged, and not applied';
  }
  return undefined;
}

function changed(world: CallWorld, event: CallEvent, writeId: string): CallWorld | undefined {
  const { record } = world;
  const next = record === null ? undefined : callAfter(record, event, writeId);
  return next === undefined ? undefined : { ...world, record: next };
}

function callerSteps(world: CallWorld): Steps {
  const { caller, record, isFenced, decided, crashes } = world;
  const steps: Steps = [];
  const add = (label: string, next: Partial<CallWorld>): number =>
    steps.push([`caller ${label}`, { ...world, ...next }]);
  if (caller === 'dead' || caller === 'done') return steps;
  if (crashes < CRASHES_MAX) add('dies', { caller: 'dead', crashes: crashes + 1 });
  if (caller === 'calling') {
    add('gives up', { caller: 'aborted' });
    if (record?.vote?.vote === 'yes') add('has all votes', { caller: 'deciding' });
    if (record?.vote?.vote === 'no') add('is refused', { caller: 'aborted' });
  }
  if (caller === 'deciding') {
    // Sent again after a lost reply: what is recorded stays recorded.
    const attempt = decided > 0 || isFenced ? decided : (record?.attempt ?? 0);
    add('decides, and the reply is lost', { decided: attempt });
    add('decides', { decided: attempt, caller: attempt > 0 ? 'committed' : 'aborted' });
  }
  if (caller !== 'committed' && caller !== 'aborted') return steps;
  // An acknowledgement is that the record is gone; an abort needs none.
  if (record === null) add('finds the call gone', { caller: 'done' });
  if (record?.state === 'open' || record?.vote?.vote === 'no') add('removes', { record: null });
  const ended = changed(world, { type: 'end', outcome: caller }, 'end');
  if (ended !== undefined) add('tells the outcome', { record: ended.record });
  if (caller === 'aborted' && record?.state === 'ended') add('need not wait', { caller: 'done' });
  return steps;
}

function serverSteps(world: CallWorld, who: number): Steps {
  const name = NAMES[who] ?? 'first';
  const other = NAMES[1 - who] ?? 'first';
  const server = world.servers[who] as Server;
  const steps: Steps = [];
  const add = (label: string, next: CallWorld | undefined): void => {
    if (next !== undefined) steps.push([`${name} ${label}`, next]);
  };
  if (!server.isAlive) return steps;
  if (world.crashes < CRASHES_MAX && world.servers.every(({ isAlive }) => isAlive)) {
    const dead = { ...server, isAlive: false, state: null, pending: [] };
    add('dies', { ...withServer(world, who, dead), crashes: world.crashes + 1 });
  }
  for (const [label, next] of sweepSteps(world, who)) add(label, next);
  if (server.state === null) {
    add('takes', taken(world, who, { type: 'claim', server: name }));
    // Whether the other one is dead, or only slow.
    add('takes over', taken(world, who, { type: 'claim', server: name, from: other }));
    return steps;
  }
  for (const [label, next] of workSteps(world, who, server)) add(label, next);
  return steps;
}

function taken(world: CallWorld, who: number, claim: CallEvent): CallWorld | undefined {
  const next = changed(world, claim, `claim ${(world.record?.attempt ?? 0) + 1}`);
  const attempt = next?.record?.attempt ?? 0;
  if (next === undefined || attempt > ATTEMPTS) return undefined;
  const earlier = next.branches.map((each, index) =>
    each === 'prepared' && index < attempt ? 'aborted' : each,
  );
  const branches = 'from' in claim && claim.from !== undefined ? earlier : next.branches;
  const server: Server = { isAlive: true, attempt, state: SERVED_START, pending: [] };
  return withServer({ ...next, branches }, who, server);
}

function workSteps(world: CallWorld, who: number, server: Server): Steps {
  const { attempt, pending } = server;
  const { record, branches } = world;
  const phase = server.state?.phase;
  const isMine = record !== null && record.server === NAMES[who] && record.attempt === attempt;
  const steps: Steps = [];
  const happen = (label: string, event: ServedEvent, next: CallWorld = world): void => {
    steps.push([label, happened(next, who, event)]);
  };
  if (phase === 'working') happen('has worked', { type: 'worked' });
  // Time may be up at any moment, and what was seen may be old.
  if (phase !== 'over') happen('fails', { type: 'failed', reason: 'no' });
  if (!isMine || record?.state !== 'claimed') happen('sees it was dropped', { type: 'dropped' });
  if (pending.includes('prepare') && branches[attempt] === 'none') {
    const prepared = withBranch(world, attempt, 'prepared');
    happen('prepares', { type: 'ready' }, prepared);
    steps.push(['prepares, and the reply is lost', prepared]);
  }
  if (phase === 'voting' || (phase === 'refusing' && pending.includes('vote-no'))) {
    steps.push(...voteSteps(world, who, server));
  }
  if (phase === 'prepared') {
    const isOver = isMine && record?.outcome !== undefined;
    const outcome = record?.outcome ?? 'aborted';
    if (isOver) happen('hears', { type: 'decided', outcome });
    else if (world.isFenced)
      happen('finds out', { type: 'decided', outcome: found(world, attempt) });
    else steps.push(['fences', { ...world, isFenced: true }]);
  }
  if (pending.includes('commit') || pending.includes('abort')) {
    const outcome = pending.includes('commit') ? 'committed' : 'aborted';
    const isThere = branches[attempt] === 'prepared' || branches[attempt] === 'none';
    const applied = isThere ? withBranch(world, attempt, outcome) : world;
    const cleared = withServer(applied, who, { ...server, pending: [] });
    happen(outcome, { type: 'applied', answer: 'done' }, cleared);
    const unapplied = withServer(world, who, { ...server, pending: [] });
    happen(`cannot be ${outcome}`, { type: 'applied', answer: 'left' }, unapplied);
  }
  if (pending.includes('let-go')) {
    const mayGo = isMine && record?.state === 'ended';
    const gone = mayGo ? { ...world, record: null } : world;
    steps.push(['lets go', withServer(gone, who, IDLE)]);
  } else if (phase === 'over') steps.push(['is done', withServer(world, who, IDLE)]);
  return steps;
}

function voteSteps(world: CallWorld, who: number, server: Server): Steps {
  const { attempt, state } = server;
  const name = NAMES[who] ?? 'first';
  const vote =
    state?.phase === 'voting'
      ? ({ vote: 'yes', result: '', branches: [] } as const)
      : ({ vote: 'no', reason: 'no' } as const);
  const event = { type: 'vote', server: name, attempt, vote } as const;
  const voted = changed(world, event, `vote ${attempt}`);
  const stands = voted?.record ?? world.record;
  const isOurs = stands?.vote !== undefined && stands.server === name && stands.attempt === attempt;
  const next = voted ?? world;
  const answer = isOurs ? 'recorded' : 'refused';
  return [
    ['votes, and the reply is lost', next],
    [`votes, ${answer}`, happened(next, who, { type: 'vote-answered', answer })],
  ];
}

/** The other server's branches, and those that nobody has in hand any more. */
function sweepSteps(world: CallWorld, who: number): Steps {
  const { record, servers, branches } = world;
  const own = servers[who] as Server;
  const isHeld = servers.some(({ isAlive, state }) => isAlive && state !== null);
  const attempt = record?.attempt ?? 0;
  const left = found(world, attempt);
  const applied = branches[attempt] === 'prepared' ? withBranch(world, attempt, left) : world;
  const orphaned: Steps =
    record !== null && world.isFenced && !isHeld
      ? [['removes an orphaned call', { ...applied, record: null }]]
      : [];
  const swept = branches.flatMap((branch, attempt): Steps => {
    const isInHand = own.state !== null && own.attempt === attempt;
    if (branch !== 'prepared' || isInHand) return [];
    const isOver = record !== null && (record.state === 'ended' || record.attempt > attempt);
    if (isOver || world.isFenced) {
      return [[`sweeps attempt ${attempt}`, withBranch(world, attempt, found(world, attempt))]];
    }
    return [['fences in a sweep', { ...world, isFenced: true }]];
  });
  return [...swept, ...orphaned];
}

/** What the log says of a branch. */
function found({ decided }: CallWorld, attempt: number): 'committed' | 'aborted' {
  return decided === attempt ? 'committed' : 'aborted';
}

function happened(world: CallWorld, who: number, event: ServedEvent): CallWorld {
  const server = world.servers[who] as Server;
  const [state, effects] = served(server.state ?? SERVED_START, event);
  const isNews = effects.length > 0 || state !== server.state;
  const pending = isNews ? effects.map(({ type }) => type) : server.pending;
  return withServer(world, who, { ...server, state, pending });
}

function withServer(world: CallWorld, who: number, server: Server): CallWorld {
  const [first, second] = world.servers;
  return { ...world, servers: who === 0 ? [server, second] : [first, server] };
}

function withBranch(world: CallWorld, attempt: number, to: BranchState): CallWorld {
  return { ...world, branches: world.branches.with(attempt, to) };
}
