import { describe, test } from 'vitest';
import { memoryTransactions } from '../../src/drivers/memory/transactions.js';
import { decisionLogContract } from '../../src/testing/decision-log.js';

describe('the memory log keeps the contract of a decision log', () => {
  const log = memoryTransactions();
  for (const { name, run } of decisionLogContract({ open: () => ({ log }) })) test(name, run);
});

describe('a memory log with a limit of 4 keeps the contract of a decision log', () => {
  const log = memoryTransactions({ unacknowledgedMax: 4 });
  const subject = { open: () => ({ log }), unacknowledgedMax: 4 };
  for (const { name, run } of decisionLogContract(subject)) test(name, run);
});
