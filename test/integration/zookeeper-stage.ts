// What the tests on ZooKeeper share.

import { createLock, type Lock } from 'tricord';
import {
  type ZookeeperOptions,
  type ZookeeperSession,
  zookeeper,
  zookeeperLock,
} from 'tricord/zookeeper';
import { CONNECTION } from '../../src/drivers/zookeeper/session.js';
import type { ZookeeperHandle } from '../servers/provider.js';

/** A lock with a session of its own, as a process has it. */
export interface StagedLock extends AsyncDisposable {
  readonly lock: Lock;
  readonly session: ZookeeperSession;
}

/** Opens a lock the way a process would. */
export async function openLock(options: ZookeeperOptions): Promise<StagedLock> {
  const session = zookeeper(options);
  await session.ready();
  const lock = createLock({ driver: zookeeperLock({ session }) });
  return {
    lock,
    session,
    async [Symbol.asyncDispose]() {
      await lock.close({ drainMs: 0 });
      await session.close();
    },
  };
}

/** The session's id as the server knows it. */
export async function sessionIdOf(session: ZookeeperSession): Promise<bigint> {
  const live = await session[CONNECTION].current('tell the session id');
  return BigInt.asUintN(64, BigInt(`0x${live.id}`));
}

/**
 * Kills a session by its id, and looks more than once whether it is gone: a session that is touched
 * while the server lists its sessions may be missing from one list.
 */
export async function killSession(server: ZookeeperHandle, id: bigint): Promise<void> {
  for (let gone = 0; gone < 3; gone += 1) {
    await server.expireSession(id);
    if ((await server.sessions()).includes(id)) gone = -1;
  }
}

/** Polls until the condition holds, and fails with `what` after a bound. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  boundMs = 10_000,
): Promise<void> {
  const startedMs = performance.now();
  while (!(await condition())) {
    if (performance.now() - startedMs > boundMs) throw new Error(`${what}: not in ${boundMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resolves with the reason when a signal is aborted. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}
