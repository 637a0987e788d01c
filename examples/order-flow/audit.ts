import type { Books, OrderRow, Reservation, Told } from './books.js';
import { groupBy } from './group-by.js';
import type { Buyer, Offer, Product } from './offer.js';
import type { Hold } from './take-order.js';

/** A broken promise: the rule, and the rows that break it. */
export interface Violation {
  readonly rule: string;
  readonly found: string;
}

export interface AuditReport {
  readonly soldUnits: number;
  readonly oversoldUnits: number;
  readonly takenCents: number;
  readonly violations: readonly Violation[];
}

/**
 * Compares the books with the offer, with what buyers were told, and with when nodes held the
 * products. Pure: the same books give the
 * same report, so a test can falsify one row and see which rule notices.
 */
export function audit(
  offer: Offer,
  books: Books,
  told: readonly Told[],
  holds: readonly Hold[] = [],
): AuditReport {
  const oversold = offer.products.map((product) => {
    return Math.max(0, soldOf(product, books.orders) - product.units);
  });
  return {
    soldUnits: sum(books.orders.map((order) => order.units)),
    oversoldUnits: sum(oversold),
    takenCents: sum(books.payments.map((payment) => payment.cents)),
    violations: [
      ...offer.products.flatMap((product) => auditStock(product, books)),
      ...auditOrders(offer, books),
      ...auditParts(books),
      ...auditWallets(offer.buyers, books),
      ...offer.products.flatMap(({ sku }) => auditTokens(sku, books.reservations)),
      ...auditHolds(holds),
      ...auditAnswers(offer, books, told),
      ...auditRemains(books),
    ],
  };
}

/** No product is oversold, and what left the stock is what was ordered. */
function auditStock({ sku, units }: Product, { stock, reservations, orders }: Books): Violation[] {
  const left = stock.find((row) => row.sku === sku)?.units;
  if (left === undefined) return [violation('stock has every product', `${sku} is missing`)];
  const sold = sum(orders.filter((order) => order.sku === sku).map((order) => order.units));
  const reserved = sum(reservations.filter((row) => row.sku === sku).map((row) => row.units));
  return [
    ...unless(sold <= units && left >= 0, 'never oversold', () => {
      return `${sku}: ${sold} of ${units} sold, ${left} left`;
    }),
    ...unless(units - left === sold && reserved === sold, 'stock and orders agree', () => {
      return `${sku}: ${units - left} left the stock, ${reserved} reserved, ${sold} ordered`;
    }),
  ];
}

/** Every order is what its buyer asked for, at its price, and exists once. */
function auditOrders({ products, buyers }: Offer, { orders }: Books): Violation[] {
  const priceOf = new Map(products.map(({ sku, priceCents }) => [sku, priceCents]));
  const buyerOf = new Map(buyers.map((buyer) => [buyer.orderId, buyer]));
  const ordersOf = groupBy(orders, (order) => order.orderId);
  return orders.flatMap((order) => {
    const { orderId, buyer, sku, units, cents } = order;
    const asked = buyerOf.get(orderId);
    const isAsked = asked?.name === buyer && asked.sku === sku && units === 1;
    const isPriced = cents === (priceOf.get(sku) ?? Number.NaN) * units;
    return [
      ...unless(isAsked, 'orders are what buyers asked for', () => rowText(order)),
      ...unless(isPriced, 'orders carry the price', () => rowText(order)),
      ...unless(ordersOf.get(orderId)?.length === 1, 'an order exists once', () => orderId),
    ];
  });
}

/** Every order has its one payment and its one reservation, and nothing is without an order. */
function auditParts({ orders, payments, reservations }: Books): Violation[] {
  const ordered = new Set(orders.map((order) => order.orderId));
  const paymentsOf = groupBy(payments, (row) => row.orderId);
  const reservationsOf = groupBy(reservations, (row) => row.orderId);
  const found = orders.flatMap(({ orderId, buyer, sku, cents }) => {
    const paid = paymentsOf.get(orderId) ?? [];
    const isPaid = paid.length === 1 && paid[0]?.cents === cents && paid[0].buyer === buyer;
    const reserved = reservationsOf.get(orderId) ?? [];
    const isReserved = reserved.length === 1 && reserved[0]?.sku === sku;
    return [
      ...unless(isPaid, 'money and orders agree', () => {
        return `${orderId} of ${cents} cents has ${rowsText(paid)}`;
      }),
      ...unless(isReserved, 'every order has one reservation', () => {
        return `${orderId} of ${sku} has ${rowsText(reserved)}`;
      }),
    ];
  });
  const stray = [...payments, ...reservations].filter(({ orderId }) => !ordered.has(orderId));
  return [...found, ...stray.map((row) => violation('nothing without an order', rowText(row)))];
}

/** What is missing from a wallet is what its buyer paid. */
function auditWallets(buyers: readonly Buyer[], { wallets, payments }: Books): Violation[] {
  const paidBy = groupBy(payments, (payment) => payment.buyer);
  const balanceOf = new Map(wallets.map(({ buyer, balanceCents }) => [buyer, balanceCents]));
  return buyers.flatMap(({ name, walletCents }) => {
    const paid = sum((paidBy.get(name) ?? []).map((payment) => payment.cents));
    const balance = balanceOf.get(name) ?? Number.NaN;
    const agrees = balance >= 0 && walletCents - balance === paid;
    return unless(agrees, 'wallets and payments agree', () => {
      return `${name} came with ${walletCents} cents, paid ${paid} and has ${balance}`;
    });
  });
}

/** Whoever took a later unit had a higher fencing token: the lock let them in one after another. */
function auditTokens(sku: string, reservations: readonly Reservation[]): Violation[] {
  const rows = reservations
    .filter((row) => row.sku === sku)
    .sort((a, b) => b.unitsLeft - a.unitsLeft);
  return rows.slice(1).flatMap((row, i) => {
    const before = rows[i]?.fencingToken ?? 0n;
    return unless(row.fencingToken > before, 'fencing tokens rise', () => {
      return `${sku}: ${row.orderId} has ${row.fencingToken} after ${before}`;
    });
  });
}

/** No two nodes, or tasks of one, had the same product to themselves at the same time. */
function auditHolds(holds: readonly Hold[]): Violation[] {
  return [...groupBy(holds, ({ sku }) => sku)].flatMap(([sku, rows]) => {
    const inOrder = rows.toSorted((a, b) => (a.fromNs < b.fromNs ? -1 : 1));
    return inOrder.slice(1).flatMap(({ fromNs }, i) => {
      const before = inOrder[i]?.untilNs ?? 0n;
      return unless(fromNs >= before, 'one holder at a time', () => {
        return `${sku} was given to somebody ${before - fromNs} ns before it was given back`;
      });
    });
  });
}

/** Nobody was told a lie, and nobody goes without an answer, also where a node died. */
function auditAnswers({ products, buyers }: Offer, books: Books, told: readonly Told[]) {
  const priceOf = new Map(products.map(({ sku, priceCents }) => [sku, priceCents]));
  const ordered = new Set(books.orders.map((order) => order.orderId));
  const leftOf = new Map(books.stock.map(({ sku, units }) => [sku, units]));
  const answersOf = groupBy(told, ({ orderId }) => orderId);
  return buyers.flatMap(({ orderId, sku, walletCents }) => {
    const answers = (answersOf.get(orderId) ?? []).map(({ answer }) => answer);
    const [answer = 'unknown'] = answers;
    const isAnswered = answers.length === 1 && answer !== 'unknown';
    const isTrue = answer === 'unknown' || ordered.has(orderId) === (answer === 'sold');
    const isSoldOut = answer !== 'sold out' || leftOf.get(sku) === 0;
    const isPoor = answer !== 'payment declined' || walletCents < (priceOf.get(sku) ?? 0);
    const toldText = `${orderId} was told [${answers}]`;
    return [
      ...unless(isAnswered, 'every buyer is answered', () => toldText),
      ...unless(isTrue, 'buyers were told the truth', () => {
        return `${toldText} and ${ordered.has(orderId) ? 'has' : 'has no'} order`;
      }),
      ...unless(isSoldOut, 'sold out means sold out', () => {
        return `${toldText}, and ${leftOf.get(sku)} of ${sku} are left`;
      }),
      ...unless(isPoor, 'payment declined means too little money', () => {
        return `${toldText} and came with ${walletCents} cents`;
      }),
    ];
  });
}

/** Nothing is left over: no lock, no prepared branch, no transaction that somebody must finish. */
function auditRemains({ locks, prepared, inDoubt }: Books): Violation[] {
  return [
    ...locks.map(({ sku, owners }) => violation('no lock is held', `${sku}: ${owners.join(', ')}`)),
    ...prepared.map((row) => violation('no branch is prepared', `${row.store}: ${row.branchId}`)),
    ...inDoubt.map((id) => violation('no transaction is in doubt', id)),
  ];
}

const soldOf = ({ sku }: Product, orders: readonly OrderRow[]): number =>
  sum(orders.filter((order) => order.sku === sku).map((order) => order.units));

const violation = (rule: string, found: string): Violation => ({ rule, found });

const unless = (holds: boolean, rule: string, found: () => string): Violation[] =>
  holds ? [] : [violation(rule, found())];

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

const rowText = (row: object): string =>
  Object.entries(row)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

const rowsText = (rows: readonly object[]): string => `[${rows.map(rowText).join('; ')}]`;
