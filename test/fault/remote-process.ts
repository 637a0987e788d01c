// A caller or a server of remote participants that meets a signal at a chosen step of the protocol:
// node remote-process.ts ‹config as JSON›

import type { CallSession, DecisionLog, Participant } from '../../src/index.js';
import type { Branch } from '../../src/transaction/participant.js';
import { callerOf, type NodeOptions, serverOf, type Through } from './remote-node.js';

export interface RemoteProcessConfig extends NodeOptions {
  readonly role: 'caller' | 'server';
  /** The order that a caller places. */
  readonly id: number;
  readonly point: string;
  readonly signal: NodeJS.Signals;
}

const config: RemoteProcessConfig = JSON.parse(process.argv[2] ?? '{}');
const write = (line: string): boolean => process.stdout.write(`${line}\n`);
/** A request leaves with the end of this turn of the event loop. */
const sent = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let isReached = false;
/** Once: a step that is tried again is not met again. */
function reached(point: string): void {
  if (point !== config.point || isReached) return;
  isReached = true;
  process.kill(process.pid, config.signal);
}

/** A call with the three moments at which its process may end: before, on the way, and after. */
async function step<T>(name: string, call: () => Promise<T>): Promise<T> {
  reached(`before ${name}`);
  const answer = call();
  if (config.point === `${name} sent`) await sent();
  reached(`${name} sent`);
  const result = await answer;
  reached(`after ${name}`);
  return result;
}

function steppedBranch<Handle>(branch: Branch<Handle>): Branch<Handle> {
  return {
    handle: branch.handle,
    prepare: (options) => step('prepare', () => branch.prepare(options)),
    commit: (options) => step('commit', () => branch.commit(options)),
    abort: (options) => step('abort', () => branch.abort(options)),
  };
}

const NAMES: Readonly<Record<string, string>> = { voted: 'vote', ended: 'end' };

function steppedCalls(session: CallSession): CallSession {
  return {
    ...session,
    create: (...args) => step('create', () => session.create(...args)),
    replace: (...args) => step(NAMES[args[0].state] ?? 'change', () => session.replace(...args)),
    remove: (...args) => step('remove', () => session.remove(...args)),
    async take(...args) {
      const taken = await session.take(...args);
      if (taken !== undefined) reached('after take');
      return taken;
    },
  };
}

const through: Through = {
  participant: <Handle>(participant: Participant<Handle>): Participant<Handle> => ({
    ...participant,
    enlist: async (context) => steppedBranch(await participant.enlist(context)),
  }),
  log: (log): DecisionLog => ({
    ...log,
    open(node) {
      const session = log.open(node);
      return {
        ...session,
        decide: (...args) => step('decide', () => session.decide(...args)),
        acknowledge: (...args) => step('acknowledge', () => session.acknowledge(...args)),
      };
    },
    openCalls: (node) => steppedCalls((log.openCalls as NonNullable<typeof log.openCalls>)(node)),
  }),
};

if (config.role === 'caller') {
  const caller = await callerOf({ ...config, through, sweepMs: 600_000 });
  const outcome = await caller.place(config.id);
  write(outcome.state === 'aborted' ? `aborted by ${outcome.by}` : outcome.state);
  await caller[Symbol.asyncDispose]();
} else {
  await serverOf({ ...config, through });
  write('ready');
}
