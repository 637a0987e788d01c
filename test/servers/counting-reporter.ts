import { writeFileSync } from 'node:fs';
import type { SerializedError, UserConsoleLog } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';
import { TESTED_KINDS } from './tested-kinds.js';

/** Names the file that gets the summary; without it the reporter is silent. */
const SUMMARY_VARIABLE = 'TRICORD_TEST_SUMMARY';

const MEASURED = 'measured: ';

/** What a run did, for the lines that `npm test` ends with. */
interface Summary {
  readonly passed: number;
  /** Failed tests, files that could not be run, and errors outside of any test. */
  readonly failed: number;
  readonly skipped: number;
  /** Executed and passed tests by the `[server]` tags in their names. */
  readonly byServer: Record<string, number>;
  readonly measured: readonly string[];
}

/** Counts what each server really had to do, so that a suite that ran nowhere is noticed. */
export class CountingReporter implements Reporter {
  readonly #measured: string[] = [];

  onUserConsoleLog({ content }: UserConsoleLog): void {
    for (const line of content.split('\n')) {
      if (line.startsWith(MEASURED)) this.#measured.push(line.slice(MEASURED.length));
    }
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const file = process.env[SUMMARY_VARIABLE];
    if (file === undefined) return;
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state: string) => tests.filter((test) => test.result().state === state);
    const passed = inState('passed');
    const broken = modules.filter((module) => module.errors().length > 0);
    const suites = modules.flatMap((module) => [...module.children.allSuites()]);
    const brokenSuites = suites.filter((suite) => suite.errors().length > 0);
    const summary: Summary = {
      passed: passed.length,
      failed:
        inState('failed').length + broken.length + brokenSuites.length + unhandledErrors.length,
      skipped: inState('skipped').length,
      byServer: countTags(passed.map((test) => test.fullName)),
      measured: this.#measured,
    };
    writeFileSync(file, JSON.stringify(summary));
  }
}

function countTags(names: readonly string[]): Record<string, number> {
  const count = (kind: string) => names.filter((name) => name.includes(`[${kind}]`)).length;
  return Object.fromEntries(TESTED_KINDS.map((kind) => [kind, count(kind)]));
}
