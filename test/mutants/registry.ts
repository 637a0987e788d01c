import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Mutant } from './mutant.js';

/** The mutants of all lists in this folder, of the repository at `root`. */
export async function allMutants(root: string): Promise<readonly Mutant[]> {
  const folder = join(root, 'test/mutants');
  const lists = (await readdir(folder)).filter((name) => name.endsWith('.ts') && name !== 'run.ts');
  const found: Mutant[] = [];
  for (const name of lists.sort()) {
    const list = (await import(pathToFileURL(join(folder, name)).href)) as {
      mutants?: Mutant[];
    };
    found.push(...(list.mutants ?? []));
  }
  const twice = found.find(({ id }, index) => found.findIndex((other) => other.id === id) < index);
  if (twice !== undefined) throw new Error(`two mutants have the id ${twice.id}`);
  return found;
}

/** Why a mutant no longer fits the code at `root`, if it does not. */
export async function stalenessOf(root: string, mutant: Mutant): Promise<string | undefined> {
  const { file, find, replace, tests } = mutant;
  const text = await readFile(join(root, file), 'utf8').catch(() => undefined);
  if (text === undefined) return `${file} is gone`;
  const times = text.split(find).length - 1;
  if (times !== 1) return `its text stands ${times} times in ${file}, not once`;
  const tested = await readFile(join(root, tests.file), 'utf8').catch(() => undefined);
  if (tested === undefined) return `${tests.file} is gone`;
  return find === replace ? 'it changes nothing' : undefined;
}
