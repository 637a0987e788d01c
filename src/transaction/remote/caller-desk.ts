import { parseBranchId } from '../branch-id.js';
import type { DecisionLog, StoredCommitRecord } from '../decision-log.js';
import type { CoordinatorHost } from '../host.js';
import { endCall } from './call-branch.js';
import { type CallDesk, callDesk, changeCall } from './call-desk.js';
import type { CallKey } from './call-record.js';

/** The calls that one coordinator makes. */
export interface CallerDesk {
  /** The desk, opened by the first who asks. @throws CoordinationError (BACKEND_UNSUPPORTED) */
  open(): CallDesk;
  /** Aborted calls whose servers have not been told yet. */
  readonly left: Map<string, CallKey>;
  close(): Promise<void>;
}

/** Nothing opened yet. */
export function callerDesk(
  log: DecisionLog,
  node: Pick<CoordinatorHost, 'nodeId' | 'namespace' | 'clock' | 'random'>,
): CallerDesk {
  let desk: CallDesk | undefined;
  return {
    left: new Map(),
    open() {
      desk ??= callDesk(log, node, { services: [], heard: () => {} });
      return desk;
    },
    async close() {
      await desk?.close();
    },
  };
}

/** Whether a name in a commit record is of a service's resource: `‹service›/‹participant›`. */
export function isRemoteName(name: string): boolean {
  return name.includes('/');
}

/**
 * Whether a service has applied a commit of this coordinator: its calls are gone. If not, it is
 * told again.
 */
export async function isApplied(
  { open }: CallerDesk,
  record: StoredCommitRecord,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const service = name.slice(0, name.indexOf('/'));
  const calls = new Set(
    record.branches
      .filter(({ participant }) => participant === name)
      .map(({ branchId }) => parseBranchId(branchId)?.remote?.callId ?? ''),
  );
  const desk = open();
  const standing = await Promise.all(
    Array.from(calls, async (callId) => {
      const key = { callId, service };
      const end = { type: 'end', outcome: 'committed' } as const;
      return (await changeCall(desk, key, end, signal)).record;
    }),
  );
  return standing.every((call) => call === undefined);
}

/** Tells the servers of aborted calls again, a few each time. */
export async function endLeft(
  { left, open }: CallerDesk,
  isActive: (transactionId: string) => boolean,
  call: (ask: (signal: AbortSignal) => Promise<void>) => Promise<void>,
): Promise<void> {
  for (const [callId, key] of Array.from(left).slice(0, LEFT_MAX)) {
    if (isActive(parseBranchId(callId)?.transactionId ?? '')) continue;
    await call((signal) => endCall(open(), key, 'aborted', signal));
    left.delete(callId);
  }
}

const LEFT_MAX = 100;
