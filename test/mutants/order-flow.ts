import type { Mutant } from './mutant.js';

const audit = {
  project: 'integration',
  file: 'test/integration/order-flow-audit.test.ts',
} as const;
const kill = { project: 'integration', file: 'test/integration/order-flow-kill.test.ts' } as const;
const demo = { project: 'integration', file: 'test/integration/order-flow.test.ts' } as const;

export const mutants: readonly Mutant[] = [
  {
    id: 'order-flow-audit-trusts-equal-tokens',
    file: 'examples/order-flow/audit.ts',
    find: 'row.fencingToken > before',
    replace: 'row.fencingToken >= before',
    tests: { ...audit, name: 'fencing tokens rise' },
    why: 'two holders of one lock at a time would pass the audit',
  },
  {
    id: 'order-flow-audit-forgets-the-stock',
    file: 'examples/order-flow/audit.ts',
    find: 'units - left === sold && reserved === sold',
    replace: 'reserved === sold',
    tests: { ...audit, name: 'stock and orders agree' },
    why: 'a unit that left the stock without an order would pass the audit',
  },
  {
    id: 'order-flow-audit-forgets-double-payments',
    file: 'examples/order-flow/audit.ts',
    find: 'paid.length === 1 && ',
    replace: '',
    tests: { ...audit, name: 'money and orders agree' },
    why: 'a buyer who paid twice would pass the audit',
  },
  {
    id: 'order-flow-audit-accepts-no-answer',
    file: 'examples/order-flow/audit.ts',
    find: "answers.length === 1 && answer !== 'unknown'",
    replace: 'answers.length === 1',
    tests: { ...audit, name: 'every buyer is answered' },
    why: 'a library that fails every order would pass the audit',
  },
  {
    id: 'order-flow-ignores-the-fencing-token',
    file: 'examples/order-flow/take-order.ts',
    find: 'reserveUnit(order, lease.fencingToken)',
    replace: 'reserveUnit(order, BigInt(buyer.orderId.length))',
    tests: { ...demo, name: 'sells every unit once' },
    why: 'the stock would not notice a holder whose lease was given away',
  },
  {
    id: 'order-flow-takes-no-payment',
    file: 'examples/order-flow/take-order.ts',
    find: '    await branches.takePayment(order);\n',
    replace: '',
    tests: { ...demo, name: 'sells every unit once' },
    why: 'goods would leave the shop without money',
  },
  {
    id: 'order-flow-kill-that-found-nothing-counts',
    file: 'examples/order-flow/kill.ts',
    find: 'if (left.length > 0) {',
    replace: 'if (left.length >= 0) {',
    tests: { ...kill, name: 'is repeated' },
    why: 'a kill that hit no prepared branch would pass for a recovery',
  },
  {
    id: 'order-flow-kills-by-the-name-alone',
    file: 'examples/order-flow/kill.ts',
    find: 'transactionId(orderId, node.name, origin) === id',
    replace: 'transactionId(orderId, node.name, origin) !== id',
    tests: { ...kill, name: 'recognises the node' },
    why: 'the wrong node would be killed and called the owner of the branches',
  },
  {
    id: 'order-flow-audit-accepts-two-holders',
    file: 'examples/order-flow/audit.ts',
    find: 'fromNs >= before',
    replace: 'fromNs + 1_000_000_000n >= before',
    tests: { ...audit, name: 'two holders of one product' },
    why: 'a lock that lets everybody in would pass, because the stores refuse what collides',
  },
];
