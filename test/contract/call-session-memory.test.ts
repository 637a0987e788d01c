import { describe, test } from 'vitest';
import { memoryTransactions } from '../../src/drivers/memory/transactions.js';
import { callSessionContract } from '../../src/testing/call-session.js';

describe('the memory log keeps the contract of calls', () => {
  const log = memoryTransactions();
  for (const { name, run } of callSessionContract({ open: () => ({ log }) })) test(name, run);
});
