import assert from 'node:assert/strict';
import { type Random, seededRandom } from '../../../src/core/random.js';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { type Fault, type Stage, type StagedCoordinator, stage } from './stage.js';

const TRANSFERS = 3;
const PROCESSES = 2;

/** How many transfers were told what. */
export type Told = Record<'committed' | 'aborted' | 'in-doubt' | 'rejected', number>;

interface Play {
  readonly seed: number;
  readonly random: Random;
  readonly stage: Stage;
  /** Those that are asked, and all that ever were. */
  readonly nodes: StagedCoordinator[];
  readonly all: StagedCoordinator[];
  readonly told: Told;
}

/**
 * Two processes move amounts between two stores while replies are lost, calls fail or are late,
 * processes die and live ones are taken for dead; some transfers are asked for twice under one key.
 * Afterwards one healthy process recovers, and the books are compared.
 */
export async function playSeed(seed: number): Promise<Told> {
  const random = seededRandom(seed);
  const told = { committed: 0, aborted: 0, 'in-doubt': 0, rejected: 0 };
  const recordRetainMs = random.fraction() < 0.5 ? 0 : 60_000;
  const play: Play = { seed, random, stage: stage({ recordRetainMs }), nodes: [], all: [], told };
  const { clock, stock, orders } = play.stage;
  stock.load({ cash: 1_000 });
  orders.load({ cash: 1_000 });
  for (let index = 0; index < PROCESSES; index += 1) play.nodes.push(start(play));
  for (let index = 0; index < TRANSFERS; index += 1) await transfer(play, index);
  await clock.advance(random.fraction() * 3_000);
  for (const node of play.all) await node.crash();
  const healthy = play.stage.process();
  for (let pass = 0; pass < 2; pass += 1) await clock.runUntil(healthy.coordinator.recover());
  await compare(play);
  const all = [healthy, ...play.all];
  await clock.runUntil(
    Promise.all(all.map(({ coordinator }) => coordinator.close({ drainMs: 0 }))),
  );
  return told;
}

function start({ stage: at, random, seed, all }: Play): StagedCoordinator {
  const node = at.process({ sweepMs: 2_000, timeoutMs: 2_000 });
  all.push(node);
  const faults: Fault = async (operation) => {
    const chance = random.fraction();
    if (chance < 0.03) return 'lost';
    if (chance < 0.06) throw new Error(`${operation} failed, seed ${seed}`);
    if (chance < 0.1) {
      const delayMs = random.fraction() * 3_000;
      await new Promise<void>((resolve) => at.clock.schedule(delayMs, resolve));
    }
    if (chance > 0.992) await node.crash();
    else if (chance > 0.988) await node.seemDead();
    return chance > 0.98 && chance < 0.984 ? 'dead' : undefined;
  };
  Object.assign(node.faults, { log: faults, participant: faults });
  return node;
}

async function transfer(play: Play, index: number): Promise<void> {
  const { random, stage: at, nodes, told } = play;
  const isKeyed = random.fraction() < 0.3;
  const key = isKeyed ? `transfer:${index}` : undefined;
  const askers = isKeyed ? nodes : [nodes[Math.floor(random.fraction() * nodes.length)]];
  for (const node of askers) {
    if (node === undefined) continue;
    const options = { resourceId: `transfer:${index}`, key };
    node.coordinator.run(options, move(node, index)).then(
      ({ state }) => {
        told[state] += 1;
      },
      () => {
        told.rejected += 1;
      },
    );
  }
  await at.clock.advance(random.fraction() * 300);
  // A dead process is replaced, as an orchestrator would.
  if (random.fraction() < 0.1) {
    nodes[Math.floor(random.fraction() * nodes.length)] = start(play);
  }
}

/** Under one key two processes would both move, if both could commit: they insert different rows. */
function move(node: StagedCoordinator, index: number) {
  return async (tx: Transaction): Promise<void> => {
    await (await tx.enlist(node.stock)).reserve('cash', 10);
    const book = await tx.enlist(node.orders);
    await book.increment('cash', 10);
    await book.insert(`transfer:${index}:${tx.transactionId}`, true);
  };
}

async function compare({ seed, stage: { stock, orders }, told }: Play): Promise<void> {
  const again = `SEED=${seed} repeats it`;
  const rows = orders.entries('transfer:');
  const moved = rows.length;
  assert.equal(stock.read('cash'), 1_000 - 10 * moved, again);
  assert.equal(orders.read('cash'), 1_000 + 10 * moved, again);
  assert.deepEqual([await stock.recover(), await orders.recover()], [[], []], again);
  // Each transfer at most once, whoever asked for it under its key.
  const transfers = new Set(rows.map(([name]) => String(name).split(':')[1]));
  assert.equal(transfers.size, moved, `a transfer happened twice: ${again}`);
  assert.ok(moved + told.aborted <= 2 * TRANSFERS, again);
}
