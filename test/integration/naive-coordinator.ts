import { systemClock } from '../../src/core/clock.js';
import { newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import type { TransactionCoordinatorOptions } from '../../src/index.js';
import type { ExploredCoordinator } from '../../src/testing.js';
import { abortedOutcome, committedOutcome } from '../../src/transaction/outcome.js';
import type { Branch, Participant } from '../../src/transaction/participant.js';

/**
 * Two-phase commit as it is often written: everything is prepared, then everything is committed, and
 * whoever finds something prepared later rolls it back. It writes no decision and fences nobody. It
 * is here to be found out by the explorer.
 */
export function naiveCoordinator(options: TransactionCoordinatorOptions): ExploredCoordinator {
  const { participants, namespace = 'default' } = options;
  const incarnation = systemRandom.token(11);
  const newId = newTransactionIds({ namespace, authority: 'naive', incarnation });
  return {
    async run({ resourceId }, body) {
      const transactionId = newId(resourceId, 'naive');
      const branches = new Map<Participant<unknown>, Branch>();
      const controller = new AbortController();
      let rollbackReason: string | undefined;
      const value = await body({
        transactionId,
        attempt: 1,
        signal: controller.signal,
        async enlist<Handle>(participant: Participant<Handle>) {
          const branchId = `${transactionId}.${branches.size + 1}`;
          const context = { transactionId, branchId, timeoutMs: 10_000, clock: systemClock };
          const branch = await participant.enlist({ ...context, signal: controller.signal });
          branches.set(participant, branch);
          return branch.handle;
        },
        call: () => Promise.reject(new TypeError('a naive coordinator makes no calls')),
        afterCommit() {},
        setRollbackOnly(reason) {
          rollbackReason = reason;
        },
      });
      const all = [...branches.values()];
      const votes = rollbackReason === undefined ? await Promise.all(all.map(prepare)) : [false];
      if (votes.includes(false)) {
        await Promise.all(all.map((branch) => branch.abort()));
        return abortedOutcome(transactionId, { by: 'participant', reason: 'a no' });
      }
      await Promise.all(all.map((branch) => branch.commit()));
      return committedOutcome(transactionId, value, []);
    },
    async recover() {
      for (const participant of participants) {
        for (const { branchId } of await participant.recover()) {
          if (branchId.split('.')[1] !== namespace) continue;
          await participant.abort({ branchId, evidence: '' });
        }
      }
      const counts = { inDoubt: 0, committed: 0, aborted: 0, recommitted: 0 };
      const lists = { branches: [], failed: [], unknownNamespace: [], unknownParticipants: [] };
      return { ...counts, ...lists, inDoubtMsMax: 0, fenced: [], durationMs: 0 };
    },
    async close() {},
  };
}

const prepare = async (branch: Branch): Promise<boolean> => (await branch.prepare()).vote === 'yes';
