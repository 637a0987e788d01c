// npm test: everything a clean clone needs, then all tests, then what they ran on.
//
//   npm test                                          all projects
//   npm test -- --project fault -t "frozen redis"     what follows -- goes to vitest
//
// Plain JavaScript on Node alone, because it also runs before anything is installed.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prepareModules } from './prepare.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
process.chdir(root);
prepareModules(root);

const folder = mkdtempSync(join(tmpdir(), 'tricord-run-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const files = { summary: join(folder, 'summary.json'), versions: join(folder, 'versions') };
process.exitCode = report(await runVitest());

function runVitest() {
  const fixed = ['run', '--config', 'test/vitest.config.ts', '--root', '.'];
  const vitest = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', ...fixed, ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      TRICORD_TEST_SUMMARY: files.summary,
      TRICORD_TEST_VERSIONS: files.versions,
    },
  });
  // The terminal sends Ctrl-C to both; this process stays to clean up and to report.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => vitest.kill('SIGTERM'));
  return new Promise((resolve) => {
    vitest.once('error', () => resolve(1));
    vitest.once('exit', (code) => resolve(code ?? 1));
  });
}

/** Prints the last lines and answers the exit code. */
function report(vitestCode) {
  if (!existsSync(files.summary)) return printEnd(0, 1);
  const { passed, failed, skipped, byServer, measured } = JSON.parse(
    readFileSync(files.summary, 'utf8'),
  );
  if (measured.length > 0) print(['', 'measured:', ...measured.map((line) => `  ${line}`)]);
  const counts = Object.entries(byServer).map(([kind, count]) => `${kind} ${count}`);
  print(['', `tests by server: ${counts.join(', ')}`, `servers: ${versions().join(', ')}`]);
  // What a filter leaves out is no news; what nobody ran in a full run is.
  const isFullRun = args.length === 0;
  if (isFullRun && skipped > 0) print([`${skipped} skipped by their authors`]);
  const unused = isFullRun ? Object.keys(byServer).filter((kind) => byServer[kind] === 0) : [];
  for (const kind of unused) print([`no test ran on ${kind}: that is a failure`]);
  // Whatever else made vitest fail, e.g. a filter that matches nothing, counts as one failure.
  return printEnd(passed, Math.max(failed, vitestCode === 0 ? 0 : 1) + unused.length);
}

function printEnd(passed, failed) {
  print([`${passed} passed, ${failed} failed`]);
  return failed === 0 ? 0 : 1;
}

/** The servers that this run's processes used: version and source, each once. */
function versions() {
  if (!existsSync(files.versions)) return ['none'];
  const lines = readFileSync(files.versions, 'utf8').trim().split('\n');
  const described = lines.map((line) => line.replace(/^(\S+) (\S+) (\S+)$/, '$1 $2 ($3)'));
  return [...new Set(described)].sort();
}

function print(lines) {
  process.stdout.write(`${lines.join('\n')}\n`);
}
