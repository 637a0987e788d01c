import type { ProcessEnds } from './explore-crashes-options.js';
import type { OpenedProcess } from './explore-crashes-process.js';

/** Where plays happen: what processes have open, lent to one after the other. */
export interface Grounds {
  /** What a new process has open; what one in peace gave back serves again. */
  take(): Promise<OpenedProcess>;
  /** Cuts what a dead process had open. */
  crash(opened: OpenedProcess): Promise<void>;
  /**
   * Ends the loan. A dead process is taken apart in the background, because drivers wait a while for
   * answers that cannot come: after `end`, which ends its coordinator, what it had open is closed.
   */
  giveBack(opened: OpenedProcess, end: () => Promise<void>): Promise<void>;
  /** What a living process has not let go of. */
  residue(opened: OpenedProcess): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** So many dead processes may be under way to their end. */
const FUNERALS_MAX = 32;

type Closable = ProcessEnds & { close?(): Promise<void> };

/** Nothing open yet. */
export function grounds(open: () => Promise<OpenedProcess>): Grounds {
  const free: OpenedProcess[] = [];
  const crashed = new Set<OpenedProcess>();
  const funerals = new Set<Promise<unknown>>();
  const parts = ({ log, participants }: OpenedProcess): readonly Closable[] => [
    log,
    ...participants.values(),
  ];
  const close = async (opened: OpenedProcess): Promise<void> => {
    await Promise.allSettled(opened.owned.map((participant) => participant.close()));
    await Promise.allSettled(parts(opened).map(async (part) => part.close?.()));
  };
  return {
    take: async () => free.pop() ?? open(),
    async crash(opened) {
      crashed.add(opened);
      await Promise.all(parts(opened).map(async (part) => part.crash?.()));
    },
    async giveBack(opened, end) {
      if (!crashed.delete(opened)) {
        await end();
        free.push(opened);
        return;
      }
      const funeral = end().then(
        () => close(opened),
        () => close(opened),
      );
      funerals.add(funeral);
      void funeral.finally(() => funerals.delete(funeral));
      if (funerals.size > FUNERALS_MAX) await Promise.race(funerals);
    },
    async residue(opened) {
      const lines = await Promise.all(parts(opened).map(async (part) => part.residue?.() ?? []));
      return lines.flat();
    },
    async close() {
      await Promise.allSettled(funerals);
      await Promise.allSettled(free.splice(0).map(close));
    },
  };
}
