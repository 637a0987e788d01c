/**
 * For the tests of drivers and of programs that use tricord: contract kits bound to no test runner,
 * and a virtual clock.
 *
 * @module
 */
export { cacheDriverContract } from './testing/cache-contract.js';
export type {
  CacheAnswerEvent,
  CacheHistoryEvent,
  CacheHistoryRule,
  CacheHistoryViolation,
  CacheReadEvent,
  CacheWriteEvent,
  CacheWrittenEvent,
} from './testing/cache-history.js';
export type { CheckCacheHistoryOptions } from './testing/cache-history-check.js';
export { checkCacheHistory, readCacheHistory } from './testing/cache-history-check.js';
export type { CacheHistoryRecorder } from './testing/cache-history-record.js';
export { recordCacheHistory } from './testing/cache-history-record.js';
export type { CacheContender, CacheDriverSubject } from './testing/cache-stage.js';
export { callSessionContract } from './testing/call-session.js';
export type { CallSessionSubject, OpenedCallStore } from './testing/call-session-stage.js';
export type { Chaos, ChaosOptions } from './testing/chaos.js';
export { chaos } from './testing/chaos.js';
export type { ChaosFault, ChaosFaults } from './testing/chaos-weather.js';
export type { ContractCase } from './testing/contract.js';
export { decisionLogContract } from './testing/decision-log.js';
export type { DecisionLogSubject, OpenedDecisionLog } from './testing/decision-log-stage.js';
export { exploreCrashes } from './testing/explore-crashes.js';
export type {
  CrashableLog,
  CrashableParticipant,
  CrashExploration,
  CrashExplorationOptions,
  CrashSighting,
  CrashSubject,
  CrashTurn,
  CrashViolation,
  ExploredCoordinator,
  ExploredLog,
  ExploredParticipant,
  ProcessEnds,
} from './testing/explore-crashes-options.js';
export type {
  AcquiredEvent,
  AcquireEvent,
  AcquireOutcome,
  CheckEvent,
  ExtendEvent,
  FaultEvent,
  HistoryEvent,
  HistoryRule,
  HistoryStamp,
  HistoryViolation,
  LostEvent,
  OverflowEvent,
  QuiesceEvent,
  ReleasedEvent,
  ReleaseEvent,
} from './testing/history.js';
export type { CheckHistoryOptions } from './testing/history-check.js';
export { checkHistory, readHistory } from './testing/history-check.js';
export type { HistoryRecorder, RecordHistoryOptions } from './testing/history-record.js';
export { recordHistory } from './testing/history-record.js';
export { lockDriverContract } from './testing/lock-contract.js';
export type {
  LockContender,
  LockContractSettings,
  LockDriverSubject,
} from './testing/lock-stage.js';
export { participantContract } from './testing/participant.js';
export type { OpenedParticipant, ParticipantSubject } from './testing/participant-stage.js';
export type { OpenedSiteStorage, SiteStorageSubject } from './testing/site-storage.js';
export { siteStorageContract } from './testing/site-storage.js';
export type { OpenedSiteTransport, SiteTransportSubject } from './testing/site-transport.js';
export { siteTransportContract } from './testing/site-transport.js';
export type { VirtualClock } from './testing/virtual-clock.js';
export { virtualClock } from './testing/virtual-clock.js';
