import { type Clock, elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import type { TransactionId } from '../../core/ids.js';
import type {
  Acknowledgement,
  CommitRecord,
  DecisionLogNode,
  IncarnationStatus,
  StoredCommitRecord,
} from '../../transaction/decision-log.js';
import { incarnationFencedError, logFullError } from '../../transaction/log-errors.js';
import { type MemoryKeys, memoryKeys } from './transactions-keys.js';

/** What the sessions of one in-process log share. Each method is one atomic step. */
export interface DecisionStore {
  register(incarnation: string, node: DecisionLogNode, liveness: Liveness): void;
  decide(incarnation: string, record: CommitRecord): 'committed' | 'fenced';
  acknowledge(this: void, acknowledgement: Acknowledgement): void;
  fence(incarnation: string, namespace: string): void;
  find(transactionId: TransactionId): StoredCommitRecord | undefined;
  incarnations(namespace: string): readonly IncarnationStatus[];
  unacknowledged(incarnation: string, limit: number): readonly StoredCommitRecord[];
  prune(namespace: string): void;
  readonly keys: MemoryKeys;
  fencedSignal(incarnation: string): AbortSignal;
}

/** Whether the session that registered an incarnation is still there. */
export interface Liveness {
  readonly isOpen: boolean;
}

interface Life {
  readonly nodeId: string;
  readonly namespace: string;
  readonly liveness: Liveness;
  readonly fenced: AbortController;
  /** Unacknowledged records, oldest first. */
  readonly pending: Map<TransactionId, Kept>;
}

interface Kept {
  readonly record: CommitRecord;
  readonly unacknowledged: Set<string>;
  readonly decidedAt: Instant;
  readonly life: Life;
  acknowledgedAt?: Instant;
}

const PRUNED_PER_CALL = 1_000;

interface StoreState {
  readonly unacknowledgedMax: number;
  readonly recordRetainMs: number;
  readonly clock: Clock;
  readonly lives: Map<string, Life>;
  readonly records: Map<TransactionId, Kept>;
  /** Fully acknowledged records, in the order of their last acknowledgement. */
  readonly acknowledged: Map<TransactionId, Kept>;
}

/** The state of an in-process decision log. */
export function decisionStore(limits: {
  readonly unacknowledgedMax: number;
  readonly recordRetainMs: number;
  readonly clock: Clock;
}): DecisionStore {
  const lives = new Map<string, Life>();
  const records = new Map<TransactionId, Kept>();
  const state: StoreState = { ...limits, lives, records, acknowledged: new Map() };
  return {
    keys: memoryKeys(limits.clock),
    register(incarnation, node, liveness) {
      const known = lives.get(incarnation);
      if (known?.fenced.signal.aborted) throw known.fenced.signal.reason;
      if (known === undefined) lives.set(incarnation, newLife(node, liveness));
    },
    decide: (incarnation, decided) => decide(state, incarnation, decided),
    acknowledge: (acknowledgement) => acknowledge(state, acknowledgement),
    fence(incarnation, namespace) {
      const life = lives.get(incarnation) ?? newLife({ nodeId: '', namespace }, { isOpen: false });
      lives.set(incarnation, life);
      if (!life.fenced.signal.aborted) life.fenced.abort(incarnationFencedError(incarnation));
    },
    find(transactionId) {
      const kept = records.get(transactionId);
      return kept === undefined ? undefined : stored(state, kept);
    },
    incarnations: (namespace) =>
      Array.from(lives)
        .filter(([, life]) => life.namespace === namespace)
        .map(([incarnation, life]) => statusOf(incarnation, life)),
    unacknowledged(incarnation, limit) {
      const pending = lives.get(incarnation)?.pending.values() ?? [];
      const oldest = Array.from(pending).slice(0, limit);
      return oldest.map((kept) => stored(state, kept));
    },
    prune: (namespace) => prune(state, namespace),
    fencedSignal: (incarnation) => (lives.get(incarnation)?.fenced ?? new AbortController()).signal,
  };
}

function decide(
  { unacknowledgedMax, clock, lives, records }: StoreState,
  incarnation: string,
  decided: CommitRecord,
): 'committed' | 'fenced' {
  const { transactionId } = decided;
  if (records.has(transactionId)) return 'committed';
  const life = lives.get(incarnation);
  // Unknown counts as fenced: prune forgets an incarnation only after its fence.
  if (life === undefined || life.fenced.signal.aborted) return 'fenced';
  if (life.pending.size >= unacknowledgedMax) {
    const blocking = Array.from(life.pending.values(), (kept) => [...kept.unacknowledged]);
    throw logFullError(incarnation, unacknowledgedMax, blocking.flat());
  }
  const kept: Kept = {
    record: { ...decided, branches: decided.branches.map((branch) => ({ ...branch })) },
    unacknowledged: new Set(decided.branches.map(({ participant }) => participant)),
    decidedAt: instantOf(clock),
    life,
  };
  records.set(transactionId, kept);
  life.pending.set(transactionId, kept);
  return 'committed';
}

function acknowledge(
  { records, acknowledged, clock }: StoreState,
  { transactionId, participant }: Acknowledgement,
): void {
  const kept = records.get(transactionId);
  kept?.unacknowledged.delete(participant);
  if (kept === undefined || kept.unacknowledged.size > 0) return;
  kept.acknowledgedAt ??= instantOf(clock);
  kept.life.pending.delete(transactionId);
  acknowledged.set(transactionId, kept);
}

function prune(state: StoreState, namespace: string): void {
  const { lives, records, acknowledged, clock, recordRetainMs } = state;
  let left = PRUNED_PER_CALL;
  for (const [transactionId, { acknowledgedAt }] of acknowledged) {
    left -= 1;
    if (left < 0 || acknowledgedAt === undefined) break;
    if (elapsedMs(clock, acknowledgedAt) < recordRetainMs) break;
    acknowledged.delete(transactionId);
    records.delete(transactionId);
  }
  for (const [incarnation, life] of lives) {
    const isOver = life.fenced.signal.aborted && life.pending.size === 0;
    if (isOver && life.namespace === namespace) lives.delete(incarnation);
  }
}

function stored(
  { clock }: StoreState,
  { record, unacknowledged, decidedAt }: Kept,
): StoredCommitRecord {
  const ageMs = elapsedMs(clock, decidedAt);
  return { ...record, unacknowledged: Array.from(unacknowledged), ageMs };
}

function newLife(
  { nodeId, namespace }: Pick<DecisionLogNode, 'nodeId' | 'namespace'>,
  liveness: Liveness,
): Life {
  return { nodeId, namespace, liveness, fenced: new AbortController(), pending: new Map() };
}

function statusOf(incarnation: string, life: Life): IncarnationStatus {
  const { nodeId, liveness, fenced, pending } = life;
  const open = liveness.isOpen ? 'live' : 'silent';
  const state = fenced.signal.aborted ? 'fenced' : open;
  return { incarnation, nodeId, state, unacknowledgedCount: pending.size };
}
