import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, test } from 'vitest';
import { type DocumentedProgram, documents, programsOf, ROOT } from './programs.js';
import { typeErrorsOf } from './type-check.js';

const PROGRAMS = ['README.md', ...documents()].flatMap(programsOf);
const folder = mkdtempSync(join(tmpdir(), 'tricord-docs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// The compiler reads the whole library once; a busy machine takes its time.
const PATIENCE = { timeout: 120_000 };

describe('the programs in the README and the guides', () => {
  test('are there: three pillars in the README, and a tutorial', () => {
    const inReadme = PROGRAMS.filter(({ name, runs }) => runs && name.startsWith('README.md'));
    assert.equal(inReadme.length, 3);
    assert.ok(PROGRAMS.some(({ name, runs }) => runs && name.startsWith('docs/tutorial/')));
  });

  test('compile in a strict project', PATIENCE, () => {
    assert.deepEqual(typeErrorsOf(PROGRAMS), []);
  });

  for (const program of PROGRAMS.filter(({ runs }) => runs)) {
    test(`run, print what they say and end by themselves: ${program.name}`, PATIENCE, async () => {
      assert.deepEqual(await outputOf(program), program.prints);
    });
  }
});

/** What a program prints, in a process of its own; rejects when it fails or does not end. */
async function outputOf({ name, code }: DocumentedProgram): Promise<readonly string[]> {
  const file = join(folder, `${name.replaceAll(/\W/g, '-')}.mts`);
  writeFileSync(file, code);
  const args = ['--import', import.meta.resolve('tsx'), file];
  const env = { ...process.env, TSX_TSCONFIG_PATH: join(ROOT, 'test/tsconfig.json') };
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, args, { cwd: ROOT, env, timeout: 60_000 });
  return stdout.trimEnd().split('\n');
}
