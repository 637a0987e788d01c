import { isCoordinationError } from '../../../core/errors.js';
import type { RedisArgument } from '../client.js';
import type { RedisScript } from '../script.js';
import type { QuorumNode } from './context.js';

/** What is sent under one grant id, and whether a copy of it may still arrive somewhere. */
export interface Sends {
  run(
    node: QuorumNode,
    script: RedisScript,
    keys: readonly string[],
    values: readonly RedisArgument[],
    timeoutMs: number,
  ): Promise<unknown>;
  /**
   * Whether a request may arrive at this node after one that is sent now: a reply did not come, or
   * the connection was lost meanwhile. What is under way on a connection that lasts comes first.
   */
  isAmbiguous(node: QuorumNode): boolean;
  /** Counts a request that was sent otherwise, in a batch. Answers what to call when it was answered. */
  note(node: QuorumNode): (error?: unknown) => void;
}

/** Nothing was sent yet. */
export function sends(): Sends {
  /** By node, the connection's number of closes when each open request was sent. */
  const open = new Map<QuorumNode, Set<{ readonly closes: number }>>();
  const unknown = new Set<QuorumNode>();
  const note = (node: QuorumNode) => {
    const request = { closes: node.calls.closeCount() };
    const requests = open.get(node) ?? new Set();
    open.set(node, requests.add(request));
    return (error?: unknown): void => {
      requests.delete(request);
      const isCertain =
        error === undefined
          ? node.calls.closeCount() === request.closes
          : isCoordinationError(error, 'BACKEND_UNAVAILABLE');
      if (!isCertain) unknown.add(node);
    };
  };
  return {
    note,
    async run(node, script, keys, values, timeoutMs) {
      const answered = note(node);
      try {
        const reply = await node.calls.script(script, keys, values, { timeoutMs });
        answered();
        return reply;
      } catch (error) {
        answered(error);
        throw error;
      }
    },
    isAmbiguous(node) {
      const closes = node.calls.closeCount();
      const requests = [...(open.get(node) ?? [])];
      return unknown.has(node) || requests.some((request) => request.closes !== closes);
    },
  };
}
