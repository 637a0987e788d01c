import { setTimeout as sleep } from 'node:timers/promises';
import { audit } from './audit.js';
import { openMemoryShop } from './memory-shop.js';
import { makeOffer, type Offer } from './offer.js';
import type { Options } from './options.js';
import { showProgress } from './progress.js';
import { guaranteeLines, table, verdict, violationLines } from './report.js';
import { Sale } from './sale.js';
import type { Shop } from './shop.js';

/** Somebody pressed Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  override readonly message = 'interrupted: the sale is called off, its servers are ended';
}

const QUIESCE_WITHIN_MS = 30_000;
const QUIESCE_LOOK_MS = 100;

/** Holds one sale from the opening of the shop to its audit; answers whether the audit was clean. */
export async function holdSale(options: Options, signal: AbortSignal): Promise<boolean> {
  const { buyers, products, units, seed, tamper } = options;
  const offer = makeOffer(options);
  say(`Flash sale: ${buyers} buyers, ${products} products of ${units} units, --seed ${seed}`);
  say('  opening the shop …');
  await using shop = await openShop(options, offer, signal);
  for (const line of shop.surroundings) say(`  ${line}`);
  for (const line of guaranteeLines(shop.guarantees)) say(`  ${line}`);

  const startedAt = performance.now();
  const { tally, killing } = await sell(shop, offer, options, signal);
  const tookMs = performance.now() - startedAt;
  await quiesce(shop, signal);
  if (tamper !== undefined) {
    await shop.tamper(tamper);
    say(`Tampered with the ${tamper} behind the library's back; the audit must notice.`);
  }
  const books = await shop.readBooks();
  const found = audit(offer, books, tally.told, tally.holds);
  const report = { offer, tally, audit: found, tookMs, killing, orders: books.orders };
  say(table(report));
  for (const line of violationLines(found.violations)) say(line);
  say(verdict(report));
  const wasKilled = !options.kill || killing !== undefined;
  if (!wasKilled) say('No kill found a prepared branch: try again, or offer more with --units.');
  return found.violations.length === 0 && wasKilled;
}

async function openShop(options: Options, offer: Offer, signal: AbortSignal): Promise<Shop> {
  if (options.drivers === 'memory') return openMemoryShop(offer, options.nodes);
  // Loaded only here, so that the demo in memory needs no client of a server.
  const { openServerShop } = await import('./server-shop.js');
  return openServerShop(options, offer, signal);
}

async function sell(shop: Shop, offer: Offer, options: Options, signal: AbortSignal) {
  const progress = showProgress(offer.buyers.length);
  const sale = new Sale(offer.buyers, progress, signal);
  const note = (text: string): void => progress.note(`  ${text}`);
  try {
    const [, killing] = await Promise.all([
      sale.serveAll(shop.nodes),
      options.kill ? shop.killNode?.(sale, note) : undefined,
    ]);
    return { tally: sale.tally, killing };
  } finally {
    progress.stop();
  }
}

/** Waits until nothing is left to finish, or for so long; the audit tells what then still is. */
async function quiesce(shop: Shop, signal: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    const { locks, prepared, inDoubt } = await shop.readRemains();
    if (locks.length + prepared.length + inDoubt.length === 0) return;
    if (performance.now() - startedAt > QUIESCE_WITHIN_MS) return;
    await sleep(QUIESCE_LOOK_MS, undefined, { signal });
  }
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
