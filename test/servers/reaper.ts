import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What must not outlive this process. */
export interface Remains {
  readonly process: number;
  readonly folder: string;
  readonly container: string;
}

/** Hands something to the reaper, which ends or removes it when this process is gone. */
export function reapLater<What extends keyof Remains>(what: What, value: Remains[What]): void {
  tell({ verb: 'add', what, value });
}

/** Takes back what has ended already; a process id may belong to somebody else by now. */
export function reapNoMore<What extends keyof Remains>(what: What, value: Remains[What]): void {
  tell({ verb: 'delete', what, value });
}

// One reaper a process, shared by every copy of this module that a test runner may load.
const holder = globalThis as { [reaperKey]?: ChildProcess };
const reaperKey: unique symbol = Symbol.for('tricord.test.reaper') as never;

function tell(message: object): void {
  holder[reaperKey] ??= startReaper();
  holder[reaperKey].stdin?.write(`${JSON.stringify(message)}\n`);
}

function startReaper(): ChildProcess {
  const program = fileURLToPath(new URL('./reaper-process.mjs', import.meta.url));
  const reaper = spawn(process.execPath, [program, String(process.pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    // A loader or inspector of the parent has no business in the reaper.
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  reaper.unref();
  const { stdin } = reaper;
  stdin?.on('error', () => {});
  (stdin as { unref?: () => void } | null)?.unref?.();
  return reaper;
}
