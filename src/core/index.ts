export type { CancelTimer, Clock, Instant, Validity } from './clock.js';
export { systemClock } from './clock.js';
export type { EventChannel, OperationChannel } from './diagnostics.js';
export type {
  AnyCoordinationError,
  ErrorCode,
  ErrorDetails,
} from './errors.js';
export { CoordinationError, isCoordinationError } from './errors.js';
export type { GuaranteeLevel, Guarantees } from './guarantees.js';
export { GUARANTEE_LEVELS, guaranteeAtLeast } from './guarantees.js';
export type { DurationSummary } from './histogram.js';
export type {
  Identity,
  LockId,
  ParsedTransactionId,
  TransactionId,
  TransactionOrigin,
} from './ids.js';
export {
  lockId,
  newTransactionId,
  parseLockId,
  parseTransactionId,
  transactionId,
} from './ids.js';
export type { Random } from './random.js';
export { seededRandom, systemRandom } from './random.js';
export type {
  StandardSchema,
  StandardSchemaIssue,
  StandardSchemaResult,
} from './standard-schema.js';
export type { InvalidArgumentError } from './validate.js';
export { NODE_ID_BYTES_MAX, RESOURCE_ID_BYTES_MAX } from './validate.js';
