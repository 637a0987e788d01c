import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What a run of the demo left behind. */
export interface DemoRun {
  readonly exitCode: number | null;
  /** Both streams, as a person at the terminal would read them. */
  readonly output: string;
}

/** Runs the demo as `npm run demo -- …` does, and waits for its end. */
export async function runDemo(
  args: readonly string[],
  onOutput: (output: string, pid: number) => void = () => {},
): Promise<DemoRun> {
  const demo = spawn(process.execPath, ['examples/order-flow/start.mjs', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [demo.stdout, demo.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
      onOutput(output, demo.pid ?? 0);
    });
  }
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    demo.once('error', reject).once('close', resolve);
  });
  return { exitCode, output };
}

/** Asserts an exit code, and shows what the demo said where it is another. */
export function expectExit({ exitCode, output }: DemoRun, expected: number): void {
  expect(exitCode, output).toBe(expected);
}

/** A row of the table at the end, by its first column. */
export function row({ output }: DemoRun, name: string): string {
  const rows = output.split('\n').filter((line) => line.startsWith('│'));
  const found = rows.find((line) => line.split('│')[1]?.trim() === name);
  return found?.split('│')[2]?.trim() ?? `no row "${name}" in:\n${output}`;
}
