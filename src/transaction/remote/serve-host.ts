import type { Barrier } from '../barrier.js';
import type { FunctionBranch } from '../function-participant-branch.js';
import type { RecoveryHost } from '../host.js';
import type { Participant } from '../participant.js';
import type { Readiness } from '../readiness.js';
import type { SiteDesk } from '../three-phase/transaction-site.js';
import type { CallDesk } from './call-desk.js';
import type { CallKey } from './call-record.js';
import type { CallSchemas } from './call-schema.js';
import type { ServeRecorder } from './serve-statistics.js';
import type { ServiceContext } from './service.js';

/** What the parts of one serving node share. */
export interface ServeHost extends RecoveryHost {
  readonly service: string;
  readonly desk: CallDesk;
  /** Its resources by their own names; `participants` has them by the names in commit records. */
  readonly locals: ReadonlyMap<string, Participant>;
  readonly readiness: Readiness;
  /** Votes in three-phase transactions. */
  readonly site: SiteDesk | undefined;
  readonly schema: CallSchemas<unknown, unknown> | undefined;
  readonly work: (payload: unknown, context: ServiceContext<unknown>) => Promise<unknown> | unknown;
  /** Where handlers work behind a barrier. */
  readonly guarded: GuardedWork | undefined;
  readonly counts: ServeRecorder;
  /** Calls that this node has taken and not brought to their end, by id. */
  readonly serving: Map<string, ServedCall>;
  /** Claims of this node, by call and attempt, that an earlier sweep did not find in its hands. */
  readonly strays: Set<string>;
  /** A call was answered or came to its end: there may be room for another. */
  readonly onRoom: () => void;
}

/** The barrier's participant, and the work that each of its branches has yet to do here. */
export interface GuardedWork {
  readonly barrier: Barrier<unknown>;
  readonly participant: Participant<FunctionBranch<unknown>>;
  readonly pending: Map<string, (client: unknown) => Promise<void>>;
}

/** One call in the hands of this node. */
export interface ServedCall {
  readonly key: CallKey;
  readonly attempt: number;
  /** Whether its handler is still at work, or its vote under way. */
  readonly isRunning: () => boolean;
  /** Whether it waits for a decision. */
  readonly isPrepared: () => boolean;
  /** Something may have changed. */
  look(): void;
  /** The decision was found out. */
  decided(outcome: 'committed' | 'aborted'): void;
  /** The caller is gone: a site that is not bound yet aborts. */
  orphaned(): void;
  /** This node closes: what has not voted is given back. */
  giveBack(): void;
  /** Resolves when nothing of it is under way any more. Never rejects. */
  readonly ended: Promise<void>;
}
