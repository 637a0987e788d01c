import { seededRandom } from '../../../src/core/random.js';
import {
  type MemoryParticipant,
  memoryParticipant,
} from '../../../src/drivers/memory/participant.js';
import type { MemoryBranch } from '../../../src/drivers/memory/participant-branch.js';
import { memoryTransactions } from '../../../src/drivers/memory/transactions.js';
import { type VirtualClock, virtualClock } from '../../../src/testing/virtual-clock.js';
import type {
  TransactionCoordinator,
  TransactionCoordinatorOptions,
} from '../../../src/transaction/coordinator.js';
import { createTransactionCoordinator } from '../../../src/transaction/create-coordinator.js';
import type { DecisionLog, DecisionLogSession } from '../../../src/transaction/decision-log.js';
import type { Branch, Participant } from '../../../src/transaction/participant.js';

/** What becomes of a call that arrived: its reply is lost, or its process dies. */
export type Verdict = 'lost' | 'dead' | undefined;

/** Comes before an operation: it may wait, throw, or answer what happens instead of the reply. */
export type Fault = (operation: string) => Promise<Verdict> | Verdict;

export interface StagedCoordinator {
  readonly coordinator: TransactionCoordinator;
  readonly stock: Participant<MemoryBranch>;
  readonly orders: Participant<MemoryBranch>;
  /** What goes wrong in this process. */
  faults: { log: Fault; participant: Fault };
  /** The process dies: no call of it arrives any more, no reply reaches it. */
  crash(): Promise<void>;
  /** The others take this process for dead, although it is not. */
  seemDead(): Promise<void>;
}

export interface Stage {
  readonly clock: VirtualClock;
  readonly log: DecisionLog;
  readonly stock: MemoryParticipant;
  readonly orders: MemoryParticipant;
  /** One more process. */
  process(options?: Partial<TransactionCoordinatorOptions>): StagedCoordinator;
}

const none: Fault = () => undefined;
const SEED = Number(process.env.TRICORD_SEED ?? 20_261);

/** Two shops' stores, a log, virtual time; every process with faults of its own. */
export function stage(options: { readonly recordRetainMs?: number } = {}): Stage {
  const clock = virtualClock();
  const log = memoryTransactions({ clock, ...options });
  const stock = memoryParticipant({ name: 'stock', clock });
  const orders = memoryParticipant({ name: 'orders', clock });
  stock.load({ 'sku:42': 10 });
  let processes = 0;
  return {
    clock,
    log,
    stock,
    orders,
    process(options) {
      processes += 1;
      const faults: { log: Fault; participant: Fault } = { log: none, participant: none };
      const sessions: DecisionLogSession[] = [];
      const life: Life = {
        isDead: false,
        async end() {
          life.isDead = true;
          await Promise.all(sessions.map((session) => session.close()));
        },
      };
      const mine = {
        stock: faultyParticipant(stock, life, () => faults.participant),
        orders: faultyParticipant(orders, life, () => faults.participant),
      };
      const coordinator = createTransactionCoordinator({
        log: faultyLog(log, life, () => faults.log, sessions),
        participants: [mine.stock, mine.orders],
        nodeId: `node-${processes}`,
        clock,
        random: seededRandom(SEED + processes),
        sweepMs: Number.POSITIVE_INFINITY,
        ...options,
      });
      return {
        coordinator,
        ...mine,
        faults,
        crash: life.end,
        async seemDead() {
          await Promise.all(sessions.map((session) => session.close()));
        },
      };
    },
  };
}

interface Life {
  isDead: boolean;
  end(): Promise<void>;
}

async function through<T>(
  life: Life,
  fault: Fault,
  operation: string,
  call: () => Promise<T>,
): Promise<T> {
  if (life.isDead) return new Promise(() => {});
  const verdict = await fault(operation);
  if (life.isDead) return new Promise(() => {});
  const result = await call();
  if (verdict === 'dead') await life.end();
  if (life.isDead) return new Promise(() => {});
  if (verdict === 'lost') throw new Error(`the reply of ${operation} was lost`);
  return result;
}

function faultyLog(
  log: DecisionLog,
  life: Life,
  fault: () => Fault,
  sessions: DecisionLogSession[],
): DecisionLog {
  return {
    ...log,
    open(node) {
      const session = log.open(node);
      sessions.push(session);
      return intercepted(session, life, fault, ['fencedSignal', 'close']);
    },
  };
}

function faultyParticipant(
  real: Participant<MemoryBranch>,
  life: Life,
  fault: () => Fault,
): Participant<MemoryBranch> {
  return {
    ...intercepted(real, life, fault, ['close']),
    async enlist(context) {
      const branch = await through(life, fault(), `enlist ${real.name}`, () =>
        real.enlist(context),
      );
      const { handle } = branch;
      return {
        ...intercepted<Branch<MemoryBranch>>(branch, life, fault, [], `branch ${real.name} `),
        handle,
      };
    },
    name: real.name,
    backend: real.backend,
  };
}

/** The same object with every method going through the faults. */
function intercepted<Target extends object>(
  target: Target,
  life: Life,
  fault: () => Fault,
  spared: readonly string[],
  prefix = 'name' in target ? `${String(target.name)} ` : '',
): Target {
  const methods = Object.entries(target).map(([name, method]) => {
    if (typeof method !== 'function' || spared.includes(name)) return [name, method];
    const call = (...args: unknown[]) =>
      through(life, fault(), `${prefix}${name}`, () => method.apply(target, args));
    return [name, call];
  });
  return Object.fromEntries(methods) as Target;
}
