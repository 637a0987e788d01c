import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import ts from 'typescript';
import { signalTree } from '../servers/process-tree.mjs';
import { reapLater, reapNoMore } from '../servers/reaper.js';
import type { Mutant, MutantTests } from './mutant.js';
import type { Workshop } from './workshop.js';

/** What became of a mutant. Only `killed` is good; `broken` means that the mutant proves nothing. */
export interface Verdict {
  readonly ending: 'killed' | 'survived' | 'broken';
  readonly because: string;
}

interface TestReport {
  readonly testResults: readonly {
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const TRIAL_TIMEOUT_MS = 120_000;

/** Runs the tests that a mutant names without its fault: they must be there and pass. */
export async function tryBaseline(workshop: Workshop, tests: MutantTests): Promise<Verdict> {
  const { report, timedOut } = await runTests(workshop, tests);
  if (timedOut || report === undefined) return broken('the tests do not end without the fault');
  const { passed, failed, unloaded } = countsOf(report);
  if (unloaded !== undefined) return broken(`the test file does not load: ${unloaded}`);
  if (failed[0] !== undefined) return broken(`fails without the fault: ${failed[0]}`);
  if (passed === 0) return broken('no test has that name');
  return { ending: 'survived', because: `${passed} tests pass` };
}

/** Runs the tests that a mutant names with its fault. */
export async function tryMutant(workshop: Workshop, mutant: Mutant): Promise<Verdict> {
  return workshop.withFault(mutant, async () => {
    const syntax = await syntaxErrorOf(join(workshop.folder, mutant.file));
    if (syntax !== undefined) return broken(`does not compile: ${syntax}`);
    const { report, timedOut, code } = await runTests(workshop, mutant.tests);
    if (timedOut) return { ending: 'killed', because: `no end within ${TRIAL_TIMEOUT_MS} ms` };
    if (report === undefined) return broken('vitest wrote no report');
    const { passed, failed, unloaded } = countsOf(report);
    if (failed[0] !== undefined) return { ending: 'killed', because: failed[0] };
    if (unloaded !== undefined) return broken(`the test file does not load: ${unloaded}`);
    if (code !== 0 && passed > 0) return { ending: 'killed', because: 'an unhandled error' };
    return { ending: 'survived', because: `${passed} tests pass with the fault` };
  });
}

const broken = (because: string): Verdict => ({ ending: 'broken', because });

function countsOf({ testResults }: TestReport) {
  const tests = testResults.flatMap((file) => file.assertionResults);
  const unloaded = testResults.find(
    (file) => file.status === 'failed' && !file.assertionResults.some((t) => t.status === 'failed'),
  );
  return {
    passed: tests.filter((test) => test.status === 'passed').length,
    failed: tests.filter((test) => test.status === 'failed').map((test) => test.fullName),
    unloaded: unloaded?.message.split('\n')[0],
  };
}

async function runTests({ folder }: Workshop, { project, file, name }: MutantTests) {
  const output = join(folder, 'mutant-report.json');
  await rm(output, { force: true });
  const reporting = ['--reporter=json', `--outputFile=${output}`, '--bail=1'];
  const where = ['--config', 'test/vitest.config.ts', '--root', '.', '--project', project, file];
  const which = name === undefined ? [] : ['-t', name];
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', ...where, ...which, ...reporting], {
    cwd: folder,
    stdio: 'ignore',
    detached: true,
  });
  const pid = child.pid as number;
  reapLater('process', pid);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    signalTree(pid, 'SIGKILL');
  }, TRIAL_TIMEOUT_MS);
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  clearTimeout(timer);
  reapNoMore('process', pid);
  const text = await readFile(output, 'utf8').catch(() => undefined);
  return {
    code,
    timedOut,
    report: text === undefined ? undefined : (JSON.parse(text) as TestReport),
  };
}

async function syntaxErrorOf(path: string): Promise<string | undefined> {
  const { diagnostics = [] } = ts.transpileModule(await readFile(path, 'utf8'), {
    fileName: path,
    reportDiagnostics: true,
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
  });
  const [first] = diagnostics;
  return first && ts.flattenDiagnosticMessageText(first.messageText, ' ');
}
