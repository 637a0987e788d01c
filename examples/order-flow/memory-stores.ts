import { isCoordinationError } from 'tricord';
import { type MemoryParticipant, memoryParticipant } from 'tricord/memory';
import type { Books, OrderRow, Payment, Reservation } from './books.js';
import type { Offer } from './offer.js';
import { Refusal, type Stores } from './stores.js';

/** Stock, payments and orders in this process; all nodes of a sale share them. */
export interface MemoryDatabases {
  readonly stock: MemoryParticipant;
  readonly payments: MemoryParticipant;
  readonly orders: MemoryParticipant;
}

export function memoryDatabases({ products, buyers }: Offer): MemoryDatabases {
  const stock = memoryParticipant({ name: 'stock' });
  for (const { sku, priceCents, units } of products) {
    stock.load({ [`price/${sku}`]: priceCents, [`units/${sku}`]: units, [`token/${sku}`]: 0n });
  }
  const payments = memoryParticipant({ name: 'payments' });
  for (const { name, walletCents } of buyers) payments.load({ [`wallet/${name}`]: walletCents });
  return { stock, payments, orders: memoryParticipant({ name: 'orders' }) };
}

/** The stores as one node uses them. */
export function memoryStores({ stock, payments, orders }: MemoryDatabases): Stores {
  return {
    participants: [stock, payments, orders],

    async enlist(tx) {
      const [stockBranch, paymentsBranch, ordersBranch] = await Promise.all([
        tx.enlist(stock),
        tx.enlist(payments),
        tx.enlist(orders),
      ]);
      return {
        async writeOrder({ orderId, buyer, sku, cents }, transactionId) {
          const row: OrderRow = { orderId, buyer, sku, units: 1, cents, transactionId };
          const key = `order/${orderId}`;
          await refusing('already ordered', ordersBranch.insert(key, row));
        },
        async reserveUnit({ orderId, sku }, fencingToken) {
          const newest = (await stockBranch.get<bigint>(`token/${sku}`)) ?? 0n;
          if (fencingToken <= newest) {
            throw new Error(`fencing token ${fencingToken} of ${sku} is older than ${newest}`);
          }
          const unitsLeft = await refusing<number>(
            'sold out',
            stockBranch.reserve(`units/${sku}`, 1),
          );
          const row: Reservation = { orderId, sku, units: 1, unitsLeft, fencingToken };
          await stockBranch.set(`token/${sku}`, fencingToken);
          await stockBranch.insert(`reservation/${orderId}`, row);
        },
        async takePayment({ orderId, buyer, cents }) {
          const key = `wallet/${buyer}`;
          await refusing('payment declined', paymentsBranch.reserve(key, cents));
          const row: Payment = { orderId, buyer, cents };
          await paymentsBranch.insert(`payment/${orderId}`, row);
        },
      };
    },

    async readPage(sku) {
      const priceCents = stock.read<number>(`price/${sku}`);
      if (priceCents === undefined) throw new Error(`the shop does not sell ${sku}`);
      return { sku, priceCents };
    },

    readUnitsLeft: async (sku) => stock.read<number>(`units/${sku}`) ?? 0,

    async close() {},
  };
}

/** Reads what the audit compares, row by row. */
export function readMemory(
  databases: MemoryDatabases,
): Omit<Books, 'locks' | 'prepared' | 'inDoubt'> {
  const { stock, payments, orders } = databases;
  const rows = <Row>(from: MemoryParticipant, prefix: string): Row[] =>
    from.entries<Row>(prefix).map(([, row]) => row);
  const numbers = (from: MemoryParticipant, prefix: string) =>
    from.entries<number>(prefix).map(([key, value]) => [key.slice(prefix.length), value] as const);
  return {
    stock: numbers(stock, 'units/').map(([sku, units]) => ({ sku, units })),
    reservations: rows<Reservation>(stock, 'reservation/'),
    wallets: numbers(payments, 'wallet/').map(([buyer, balanceCents]) => ({ buyer, balanceCents })),
    payments: rows<Payment>(payments, 'payment/'),
    orders: rows<OrderRow>(orders, 'order/'),
  };
}

/** Changes a row behind the library's back, for the audit to notice. */
export function tamperMemory(
  { stock, payments, orders }: MemoryDatabases,
  what: 'stock' | 'payment' | 'order',
): void {
  const change = <Row>(store: MemoryParticipant, prefix: string, changed: (row: Row) => Row) => {
    const [first] = store.entries<Row>(prefix);
    if (first !== undefined) store.load({ [first[0]]: changed(first[1]) });
  };
  if (what === 'stock') change<number>(stock, 'units/', (units) => units + 1);
  if (what === 'order') change<OrderRow>(orders, 'order/', (row) => ({ ...row, buyer: 'nobody' }));
  if (what === 'payment') {
    change<Payment>(payments, 'payment/', (row) => ({ ...row, cents: row.cents - 1 }));
  }
}

/** Turns a store's CONDITION_FAILED into the refusal that it means here. */
async function refusing<T>(reason: Refusal['reason'], work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw isCoordinationError(error, 'CONDITION_FAILED') ? new Refusal(reason) : error;
  }
}
