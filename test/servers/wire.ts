import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint } from './handle.js';

const ASK_TIMEOUT_MS = 1_000;
const RETRY_PAUSE_MS = 25;

/**
 * Sends `request` over a connection of its own and answers what comes back, up to the end of the
 * stream or to where `isComplete` says so. Throws on a refused or silent server.
 */
export function ask(
  { host, port }: Endpoint,
  request: string | Buffer,
  isComplete: (answer: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ host, port });
    socket.setTimeout(ASK_TIMEOUT_MS, () =>
      socket.destroy(new Error(`no answer from ${host}:${port} within ${ASK_TIMEOUT_MS} ms`)),
    );
    socket.once('connect', () => socket.write(request));
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (isComplete(answer)) socket.end();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(answer));
  });
}

/** Repeats `attempt` until it answers, at most for `timeoutMs`; then throws its last error. */
export async function eventually<T>(
  attempt: () => Promise<T>,
  { timeoutMs, isHopeless = () => false }: { timeoutMs: number; isHopeless?: () => boolean },
): Promise<T> {
  const startedAt = performance.now();
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (isHopeless() || performance.now() - startedAt > timeoutMs) throw error;
    }
    await sleep(RETRY_PAUSE_MS);
  }
}
