import { describe, test } from 'vitest';
import { memoryParticipant } from '../../src/drivers/memory/participant.js';
import type { MemoryBranch } from '../../src/drivers/memory/participant-branch.js';
import { participantContract } from '../../src/testing/participant.js';

describe('the memory participant keeps the contract of a participant', () => {
  const participant = memoryParticipant({ name: 'shop' });
  const cases = participantContract<MemoryBranch>({
    open: () => ({ participant }),
    write: (handle, key, value) => handle.set(key, value),
    read: async (key) => participant.read<string>(key),
    look: (handle, key) => handle.get(key),
    async spoil(handle, key) {
      await handle.get(`${key}:counter`);
      participant.load({ [`${key}:counter`]: 1 });
    },
    notesAborts: true,
  });
  for (const { name, run } of cases) test(name, run);
});
