import { describe, test } from 'vitest';
import { memoryCache } from '../../src/memory.js';
import { cacheDriverContract } from '../../src/testing.js';

describe('memoryCache', () => {
  const driver = memoryCache();
  const subject = { open: () => ({ driver }), namePrefix: 'contract-' };
  for (const { name, run } of cacheDriverContract(subject)) test(name, run);
});
