// Apache Curator in a process of its own, told by lines what to do (see ../curator/CuratorBench.java).

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { within } from './measure.js';

const FOLDER = fileURLToPath(new URL('../curator/', import.meta.url));
const PROGRAM = `${FOLDER}CuratorBench.java`;
const CLASSPATH = `${FOLDER}classpath.txt`;
const ANSWER_MS_MAX = 120_000;

export interface Curator {
  /** So many uncontended pairs; milliseconds. */
  pairs(count: number, path: string): Promise<number>;
  /** So many threads do so many pairs together on one path; milliseconds. */
  tasks(threads: number, count: number, path: string): Promise<number>;
  /** The median hand-off of so many, in milliseconds. */
  handOff(count: number, path: string): Promise<number>;
  close(): void;
}

/** Starts it, or answers undefined where Java or Curator is not installed. */
export async function startCurator(servers: string): Promise<Curator | undefined> {
  if (!existsSync(PROGRAM) || !existsSync(CLASSPATH)) return undefined;
  const classpath = readFileSync(CLASSPATH, 'utf8').trim();
  const child = spawn('java', ['-cp', classpath, PROGRAM, servers], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const answers = answersOf(child);
  const ready = await within(30_000, answers.next());
  if (ready !== 'ready') {
    child.kill('SIGKILL');
    return undefined;
  }
  const ask = async (line: string): Promise<number> => {
    child.stdin?.write(`${line}\n`);
    return Number(await within(ANSWER_MS_MAX, answers.next()));
  };
  return {
    pairs: (count, path) => ask(`pairs ${count} ${path}`),
    tasks: (threads, count, path) => ask(`tasks ${threads} ${count} ${path}`),
    handOff: (count, path) => ask(`handoff ${count} ${path}`),
    close: () => void child.kill('SIGKILL'),
  };
}

/** The lines that it answers, one a question; undefined when it has ended. */
function answersOf(child: ChildProcess) {
  const lines = child.stdout === null ? undefined : createInterface({ input: child.stdout });
  const waiting: ((line: string | undefined) => void)[] = [];
  const arrived: (string | undefined)[] = [];
  const take = (line: string | undefined): void => {
    const next = waiting.shift();
    if (next === undefined) arrived.push(line);
    else next(line);
  };
  lines?.on('line', take);
  child.once('error', () => take(undefined));
  child.once('exit', () => take(undefined));
  return {
    next: () =>
      new Promise<string | undefined>((resolve) => {
        if (arrived.length > 0) resolve(arrived.shift());
        else waiting.push(resolve);
      }),
  };
}
