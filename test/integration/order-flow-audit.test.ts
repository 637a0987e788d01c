import { describe, expect, test } from 'vitest';
import { audit } from '../../examples/order-flow/audit.js';
import type { Books, Told } from '../../examples/order-flow/books.js';
import type { Offer } from '../../examples/order-flow/offer.js';

const offer: Offer = {
  products: [
    { sku: 'pen', name: 'pen', priceCents: 500, units: 2 },
    { sku: 'pan', name: 'pan', priceCents: 900, units: 3 },
  ],
  buyers: [
    { orderId: 'o1', name: 'ann', sku: 'pen', walletCents: 700 },
    { orderId: 'o2', name: 'ben', sku: 'pen', walletCents: 500 },
    { orderId: 'o3', name: 'cat', sku: 'pen', walletCents: 600 },
    { orderId: 'o4', name: 'dan', sku: 'pan', walletCents: 0 },
    { orderId: 'o5', name: 'eve', sku: 'pan', walletCents: 1_000 },
  ],
};

/** An honest sale: two pens and a pan are sold, one buyer came too late, one could not pay. */
const books: Books = {
  stock: [
    { sku: 'pen', units: 0 },
    { sku: 'pan', units: 2 },
  ],
  reservations: [
    { orderId: 'o1', sku: 'pen', units: 1, unitsLeft: 1, fencingToken: 7n },
    { orderId: 'o2', sku: 'pen', units: 1, unitsLeft: 0, fencingToken: 9n },
    { orderId: 'o5', sku: 'pan', units: 1, unitsLeft: 2, fencingToken: 3n },
  ],
  wallets: [
    { buyer: 'ann', balanceCents: 200 },
    { buyer: 'ben', balanceCents: 0 },
    { buyer: 'cat', balanceCents: 600 },
    { buyer: 'dan', balanceCents: 0 },
    { buyer: 'eve', balanceCents: 100 },
  ],
  payments: [
    { orderId: 'o1', buyer: 'ann', cents: 500 },
    { orderId: 'o2', buyer: 'ben', cents: 500 },
    { orderId: 'o5', buyer: 'eve', cents: 900 },
  ],
  orders: [
    { orderId: 'o1', buyer: 'ann', sku: 'pen', units: 1, cents: 500, transactionId: 't1' },
    { orderId: 'o2', buyer: 'ben', sku: 'pen', units: 1, cents: 500, transactionId: 't2' },
    { orderId: 'o5', buyer: 'eve', sku: 'pan', units: 1, cents: 900, transactionId: 't3' },
  ],
  locks: [],
  prepared: [],
  inDoubt: [],
};
const told: readonly Told[] = [
  { orderId: 'o1', answer: 'sold' },
  { orderId: 'o2', answer: 'sold' },
  { orderId: 'o3', answer: 'sold out' },
  { orderId: 'o4', answer: 'payment declined' },
  { orderId: 'o5', answer: 'sold' },
];

const rulesBroken = (changed: Partial<Books>, answers: readonly Told[] = told): string[] =>
  audit(offer, { ...books, ...changed }, answers).violations.map(({ rule }) => rule);

/** The rows of a list with the one at `index` changed. */
const changing = <Row>(rows: readonly Row[], index: number, change: Partial<Row>): Row[] =>
  rows.map((row, i) => (i === index ? { ...row, ...change } : row));

/** The answers to buyers with one of them changed. */
const telling = (orderId: string, answer: Told['answer']): Told[] =>
  told.map((one) => (one.orderId === orderId ? { orderId, answer } : one));

describe('the audit of the order flow', () => {
  test('finds nothing in the books of an honest sale', () => {
    const report = audit(offer, books, told);
    expect(report).toEqual({ soldUnits: 3, oversoldUnits: 0, takenCents: 1_900, violations: [] });
  });

  test('counts and reports units that were sold beyond what was offered', () => {
    const order = { orderId: 'o3', buyer: 'cat', sku: 'pen', units: 1, cents: 500 };
    const orders = [...books.orders, { ...order, transactionId: 't9' }];
    const report = audit(offer, { ...books, orders }, told);
    expect(report.oversoldUnits).toBe(1);
    expect(report.violations.map(({ rule }) => rule)).toContain('never oversold');
  });

  test.each<[rule: string, Partial<Books>]>([
    ['never oversold', { stock: changing(books.stock, 0, { units: -1 }) }],
    ['stock and orders agree', { stock: changing(books.stock, 1, { units: 3 }) }],
    ['stock and orders agree', { reservations: books.reservations.slice(1) }],
    ['stock has every product', { stock: books.stock.slice(1) }],
    ['money and orders agree', { payments: books.payments.slice(1) }],
    ['money and orders agree', { payments: changing(books.payments, 0, { cents: 499 }) }],
    ['money and orders agree', { payments: [...books.payments, ...books.payments.slice(0, 1)] }],
    ['every order has one reservation', { reservations: books.reservations.slice(1) }],
    ['an order exists once', { orders: [...books.orders, ...books.orders.slice(0, 1)] }],
    ['nothing without an order', { orders: books.orders.slice(1) }],
    ['orders are what buyers asked for', { orders: changing(books.orders, 0, { buyer: 'ben' }) }],
    ['orders are what buyers asked for', { orders: changing(books.orders, 0, { sku: 'pan' }) }],
    ['orders carry the price', { orders: changing(books.orders, 0, { cents: 499 }) }],
    ['wallets and payments agree', { wallets: changing(books.wallets, 0, { balanceCents: 700 }) }],
    ['wallets and payments agree', { wallets: changing(books.wallets, 3, { balanceCents: -1 }) }],
    ['wallets and payments agree', { wallets: books.wallets.slice(1) }],
    [
      'fencing tokens rise',
      { reservations: changing(books.reservations, 0, { fencingToken: 9n }) },
    ],
    ['no lock is held', { locks: [{ sku: 'pen', owners: ['node-1'] }] }],
    ['no branch is prepared', { prepared: [{ store: 'stock', branchId: 'tc1.a.0' }] }],
    ['no transaction is in doubt', { inDoubt: ['tc1.a'] }],
  ])('notices a planted violation of "%s" (%#)', (rule, changed) => {
    expect(rulesBroken(changed)).toContain(rule);
  });

  test.each<[rule: string, readonly Told[]]>([
    ['buyers were told the truth', telling('o1', 'sold out')],
    ['buyers were told the truth', telling('o3', 'sold')],
    ['sold out means sold out', telling('o4', 'sold out')],
    ['payment declined means too little money', telling('o3', 'payment declined')],
    ['every buyer is answered', telling('o3', 'unknown')],
    ['every buyer is answered', told.slice(1)],
    ['every buyer is answered', [...told, ...told.slice(0, 1)]],
  ])('notices a false answer by "%s" (%#)', (rule, answers) => {
    expect(rulesBroken({}, answers)).toContain(rule);
  });

  test('notices two holders of one product at a time, and takes turns for no violation', () => {
    const turn = (sku: string, fromNs: bigint, untilNs: bigint) => ({ sku, fromNs, untilNs });
    const turns = [turn('pen', 0n, 5n), turn('pan', 2n, 9n), turn('pen', 5n, 8n)];
    expect(audit(offer, books, told, turns).violations).toEqual([]);
    const overlap = [...turns, turn('pen', 7n, 9n)];
    expect(audit(offer, books, told, overlap).violations).toEqual([
      {
        rule: 'one holder at a time',
        found: 'pen was given to somebody 1 ns before it was given back',
      },
    ]);
  });
});
