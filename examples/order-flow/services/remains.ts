import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, systemRandom } from 'tricord';
import type { Cords } from '../cords.js';
import type { PreparedWatch } from '../prepared-watch.js';
import type { ServiceSetup } from './service.js';

const QUIESCE_WITHIN_MS = 30_000;
const QUIESCE_LOOK_MS = 100;

type Log = Cords['log'];

/** What is left over: prepared branches, decisions without acknowledgement, calls. */
export function remainsOf(
  log: Log,
  { namespace, protocol }: Pick<ServiceSetup, 'namespace' | 'protocol'>,
  watch: PreparedWatch,
) {
  const node = { nodeId: 'auditor', namespace, clock: systemClock, random: systemRandom };
  // Sites decide by themselves: what was answered or ended is an old message there, for a minute.
  const isMessage = (state: string): boolean =>
    protocol === 'three-phase' && (state === 'voted' || state === 'ended');
  const session = log.open(node);
  const calls = log.openCalls?.(node);
  return {
    async read() {
      const statuses = await session.incarnations();
      const open = statuses.filter(({ unacknowledgedCount }) => unacknowledgedCount > 0);
      const services = ['catalog', 'stock', 'payment'];
      const left = await Promise.all(
        services.map(async (name) => (await calls?.list(name, 100)) ?? []),
      );
      return {
        locks: [],
        prepared: await watch.prepared(),
        inDoubt: [
          ...open.map(({ incarnation }) => `of ${incarnation}`),
          ...left
            .flat()
            .filter(({ state }) => !isMessage(state))
            .map(({ callId, state }) => `${callId} is ${state}`),
        ],
      };
    },
    async close() {
      await Promise.all([session.close(), calls?.close()]);
    },
  };
}

/** Waits until nothing is left over, within a bound. */
export async function quiesce(
  read: ReturnType<typeof remainsOf>['read'],
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  while (performance.now() - startedAt < QUIESCE_WITHIN_MS) {
    const { prepared, inDoubt } = await read();
    if (prepared.length + inDoubt.length === 0) return;
    await sleep(QUIESCE_LOOK_MS, undefined, { signal });
  }
}
