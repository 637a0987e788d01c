// A process that places orders and meets a signal at a chosen step of the protocol:
// node transaction-owner.ts ‹config as JSON›

import type { DecisionLog } from '../../src/transaction/decision-log.js';
import type { Branch, Participant } from '../../src/transaction/participant.js';
import { nodeOf } from './transaction-stage.js';

export interface OwnerConfig {
  readonly redisUrl: string;
  readonly ordersUrl: string;
  readonly paymentsUrl: string;
  /** The order; with the point 'any time' the first of many. */
  readonly id: number;
  readonly point: string;
  readonly signal: NodeJS.Signals;
}

const CONCURRENCY = 4;
const config: OwnerConfig = JSON.parse(process.argv[2] ?? '{}');
const write = (line: string): boolean => process.stdout.write(`${line}\n`);
/** A request leaves with the end of this turn of the event loop. */
const sent = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function reached(point: string): void {
  if (point === config.point) process.kill(process.pid, config.signal);
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

function steppedBranch(branch: Branch, name: string): Branch {
  return {
    handle: branch.handle,
    prepare: (options) => step(`prepare of ${name}`, () => branch.prepare(options)),
    commit: (options) => step(`commit of ${name}`, () => branch.commit(options)),
    abort: (options) => branch.abort(options),
  };
}

const node = nodeOf({
  ...config,
  sweepMs: Number.POSITIVE_INFINITY,
  through: {
    participant: (participant): Participant => ({
      ...participant,
      enlist: async (context) => steppedBranch(await participant.enlist(context), participant.name),
    }),
    log: (log): DecisionLog => ({
      ...log,
      open(opened) {
        const session = log.open(opened);
        return {
          ...session,
          decide: (...args) => step('decide', () => session.decide(...args)),
          acknowledge: (...args) => step('acknowledge', () => session.acknowledge(...args)),
        };
      },
    }),
  },
});

if (config.point === 'any time') {
  let id = config.id;
  const worker = async (): Promise<void> => {
    for (;;) {
      id += 1;
      const { state } = await node.place(id);
      if (id === config.id + CONCURRENCY) write('busy');
      if (state !== 'committed') write(state);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
} else {
  const outcome = await node.place(config.id, 20_000);
  write(outcome.state === 'aborted' ? `aborted by ${outcome.by}` : outcome.state);
  await node[Symbol.asyncDispose]();
}
