import type { ProcessEnds } from './explore-crashes-options.js';
import type { OpenedProcess } from './explore-crashes-process.js';

/** Where plays happen: what processes have open, lent to one after the other. */
export interface Grounds {
  /** What a new process has open; what one in peace gave back serves again. */
  take(): Promise<OpenedProcess>;
  /** Cuts what a dead process had open. */
  crash(opened: OpenedProcess): Promise<void>;
  /** Ends the loan; what was cut is closed. */
  giveBack(opened: OpenedProcess): Promise<void>;
  /** What a living process has not let go of. */
  residue(opened: OpenedProcess): Promise<readonly string[]>;
  close(): Promise<void>;
}

type Closable = ProcessEnds & { close?(): Promise<void> };

/** Nothing open yet. */
export function grounds(open: () => Promise<OpenedProcess>): Grounds {
  const free: OpenedProcess[] = [];
  const crashed = new Set<OpenedProcess>();
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
    async giveBack(opened) {
      if (crashed.delete(opened)) await close(opened);
      else free.push(opened);
    },
    async residue(opened) {
      const lines = await Promise.all(parts(opened).map(async (part) => part.residue?.() ?? []));
      return lines.flat();
    },
    async close() {
      await Promise.allSettled(free.splice(0).map(close));
    },
  };
}
