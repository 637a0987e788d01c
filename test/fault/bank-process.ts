// A process of the bank: node bank-process.ts ‹config as JSON›. It moves money until it is killed,
// and tells what it was told: a line a transfer, before and after.

import { type Clock, systemClock } from '../../src/core/clock.js';
import { seededRandom } from '../../src/core/random.js';
import {
  ACCOUNTS,
  BANKS,
  type Bank,
  type BankUrls,
  bankNode,
  type Transfer,
} from './bank-branches.js';

export interface BankProcessConfig {
  readonly urls: BankUrls;
  readonly seed: number;
  /** So many transfers at the same time; none in a process that only sweeps. */
  readonly concurrency: number;
  /** How wrong its wall clock is, in milliseconds; it also jumps by as much, now and then. */
  readonly skewMs: number;
}

const config: BankProcessConfig = JSON.parse(process.argv[2] ?? '{}');
const random = seededRandom(config.seed);
const pick = (count: number): number => Math.floor(random.fraction() * count);

/** Wrong by `skewMs`, and every few seconds wrong in the other direction. */
const skewed: Clock = {
  ...systemClock,
  wallMs: () => {
    const now = systemClock.wallMs();
    return now + (Math.floor(now / 10_000) % 2 === 0 ? config.skewMs : -config.skewMs);
  },
};

const node = bankNode(config.urls, { clock: skewed });
let count = 0;

function nextTransfer(): Transfer {
  count += 1;
  const banks = [...BANKS] as Bank[];
  const from = banks.splice(pick(banks.length), 1);
  const to = Array.from({ length: 1 + pick(2) }, () => banks.splice(pick(banks.length), 1)).flat();
  const amount = 1 + pick(5);
  const legs = [
    ...from.map((bank) => ({ bank, account: pick(ACCOUNTS), by: -amount * to.length })),
    ...to.map((bank) => ({ bank, account: pick(ACCOUNTS), by: amount })),
  ];
  return { id: `${config.seed.toString(36)}-${count}`, legs };
}

async function work(): Promise<void> {
  for (;;) {
    const transfer = nextTransfer();
    let told: string;
    try {
      told = (await node.transfer(transfer)).state;
    } catch {
      told = 'refused';
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    process.stdout.write(`${transfer.id} ${told}\n`);
  }
}

process.stdout.write('ready\n');
await Promise.all(Array.from({ length: config.concurrency }, work));
// One that only sweeps stays until it is killed.
setInterval(() => {}, 60_000);
