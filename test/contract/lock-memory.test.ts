import { memoryLock } from 'tricord/memory';
import { lockDriverContract } from 'tricord/testing';
import { describe, test } from 'vitest';

describe('memory lock', () => {
  const driver = memoryLock();
  const subject = {
    open: () => ({ driver }),
    resourcePrefix: 'contract:',
    settings: { ttlMs: 150 },
  };
  for (const { name, run } of lockDriverContract(subject)) test(name, run);
});
