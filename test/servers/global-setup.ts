import type { TestProject } from 'vitest/node';
import { Broker } from './broker.js';
import type { ServerKind } from './handle.js';
import { fromEnvironment, prepareServers } from './provider.js';
import { TESTED_KINDS } from './tested-kinds.js';

interface Run {
  readonly opening: Promise<{ broker: Broker; port: number }>;
  userCount: number;
}

// Each project of a run loads its own copy of this module; all of them share one broker.
const runKey = Symbol.for('tricord.test.run');
const holder = globalThis as { [runKey]?: Run };

/** Before a project's first test: programs installed where needed, the broker open. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  // The reapers of workers look at this one, too: a worker can outlive a killed runner.
  process.env.TRICORD_RUNNER_PID = String(process.pid);
  holder[runKey] ??= { opening: openBroker(), userCount: 0 };
  const run = holder[runKey];
  run.userCount += 1;
  const { broker, port } = await run.opening;
  project.provide('serverBroker', port);
  return async () => {
    run.userCount -= 1;
    if (run.userCount === 0) await broker.close();
  };
}

async function openBroker(): Promise<{ broker: Broker; port: number }> {
  // Fault suites start their own servers whatever the environment names, but where it names all
  // kinds nothing is installed before a suite really needs it.
  const missing: ServerKind[] = [];
  for (const kind of TESTED_KINDS) {
    if ((await fromEnvironment(kind)) === undefined) missing.push(kind);
  }
  await prepareServers(missing);
  const broker = new Broker();
  return { broker, port: await broker.open() };
}
