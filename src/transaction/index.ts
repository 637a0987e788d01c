export type { Barrier, BarrierPassage, BarrierStep } from './barrier.js';
export type { BarrierEffect, BarrierEvent, BarrierMove, BarrierState } from './barrier-machine.js';
export { barrierMove } from './barrier-machine.js';
export type {
  CoordinatorCallOptions,
  CoordinatorGuarantees,
  KeyedTransactionOptions,
  Transaction,
  TransactionCoordinator,
  TransactionCoordinatorOptions,
  TransactionOptions,
  TransactionRetry,
} from './coordinator.js';
export { createTransactionCoordinator } from './create-coordinator.js';
export type {
  Acknowledgement,
  CommitRecord,
  DecidedBranch,
  DecisionLog,
  DecisionLogNode,
  DecisionLogSession,
  IncarnationStatus,
  KeyRequest,
  KeyReservation,
  LogCallOptions,
  RunWithin,
  StatementRows,
  StoredCommitRecord,
  WithinAnswer,
} from './decision-log.js';
export type {
  TransactionCallContext,
  TransactionContradictedEvent,
  TransactionEndedEvent,
  TransactionFailedEvent,
  TransactionFencedEvent,
  TransactionResolvedEvent,
  TransactionRunContext,
  TransactionServeContext,
} from './diagnostics.js';
export type {
  FunctionCall,
  FunctionParticipantOptions,
  ParticipantFunction,
} from './function-participant.js';
export { functionParticipant } from './function-participant.js';
export type { FunctionBranch } from './function-participant-branch.js';
export type {
  AbortedOutcome,
  CommittedOutcome,
  InDoubtOutcome,
  Outcome,
} from './outcome.js';
export type {
  Branch,
  BranchContext,
  BranchOutcome,
  BranchRecord,
  LastResourceAborted,
  LastResourceOutcome,
  NoVote,
  OnePhaseAborted,
  OnePhaseCommitted,
  OnePhaseOutcome,
  OnePhaseUnknown,
  Participant,
  ParticipantCallOptions,
  PreparedBranch,
  ReadOnlyVote,
  Vote,
  YesVote,
} from './participant.js';
export type {
  InDoubtBranch,
  RecoveredBranch,
  RecoveryFailure,
  RecoveryReport,
  UnknownBranch,
} from './recovery-report.js';
export type { CallKey, CallNo, CallRecord, CallVote, CallYes } from './remote/call-record.js';
export type { CallSchemas } from './remote/call-schema.js';
export type {
  CallHint,
  CallNode,
  CallSession,
  NewCall,
  ReadCallOptions,
  StandingCall,
  TakenCall,
} from './remote/call-session.js';
export type { RemoteCallOptions } from './remote/remote-calls.js';
export type { ServeParticipantOptions } from './remote/serve-participant.js';
export { serveParticipant } from './remote/serve-participant.js';
export type { ServeStats } from './remote/serve-statistics.js';
export type {
  ServedParticipant,
  ServiceContext,
  ServiceEndContext,
  ServiceHandlers,
} from './remote/service.js';
export type { OutcomeState, TransactionStats } from './statistics.js';
export { createTransactionSite } from './three-phase/create-site.js';
export type {
  DeclaredGone,
  DeclareGoneOptions,
  GoneTransaction,
} from './three-phase/declare-gone.js';
export type {
  HttpAnswer,
  HttpFetch,
  HttpRequest,
  HttpResponse,
  HttpTransport,
  HttpTransportOptions,
} from './three-phase/http-transport.js';
export { httpTransport } from './three-phase/http-transport.js';
export type {
  SiteContradictedEvent,
  SiteDecidedEvent,
  SiteDeclaredGoneEvent,
  SiteElectedEvent,
  SiteFailedEvent,
} from './three-phase/site-diagnostics.js';
export type { SiteMessageKind, SiteStats } from './three-phase/site-statistics.js';
export type { SiteNode, SiteStorage, SiteStore, StoredSite } from './three-phase/site-storage.js';
export type { SiteLine, SiteTransport } from './three-phase/site-transport.js';
export type {
  SiteTransaction,
  TransactionSite,
  TransactionSiteOptions,
} from './three-phase/transaction-site.js';
export type { AbortedBy } from './two-phase.js';
