import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { reapLater, reapNoMore } from '../servers/reaper.js';
import type { Mutant } from './mutant.js';

const run = promisify(execFile);

/** A copy of the working tree in which faults are tried, so that the tree itself is never dirty. */
export interface Workshop extends AsyncDisposable {
  readonly folder: string;
  /** Runs `trial` while the mutant's fault is in the copy. */
  withFault<T>(mutant: Mutant, trial: () => Promise<T>): Promise<T>;
}

/** Copies what Git knows or would add; the modules are linked, not copied. */
export async function openWorkshop(root: string): Promise<Workshop> {
  const folder = await mkdtemp(join(tmpdir(), 'tricord-mutants-'));
  reapLater('folder', folder);
  for (const file of await filesOf(root)) {
    await cp(join(root, file), join(folder, file), { recursive: true }).catch(ignoreMissing);
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return {
    folder,
    async withFault({ file, find, replace }, trial) {
      const path = join(folder, file);
      const original = await readFile(path, 'utf8');
      // A function, because a replacement text may hold `$`.
      await writeFile(
        path,
        original.replace(find, () => replace),
      );
      try {
        return await trial();
      } finally {
        await writeFile(path, original);
      }
    },
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true });
      reapNoMore('folder', folder);
    },
  };
}

async function filesOf(root: string): Promise<string[]> {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const { stdout } = await run('git', args, { cwd: root, maxBuffer: 64 * 1024 * 1024 });
  return [...new Set(stdout.split('\0'))].filter((file) => file !== '' && dirname(file) !== 'docs');
}

/** A file that Git still lists may be deleted in the working tree. */
function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
