import { CoordinationError } from '../../core/errors.js';
import type { CallNo } from './call-record.js';

/** The error of a call that is larger than the store takes. */
export function callTooLargeError(facts: {
  readonly service: string;
  readonly part: 'payload' | 'result';
  readonly bytes: number;
  readonly bytesMax: number;
}): CoordinationError<'CALL_TOO_LARGE'> {
  const { service, part, bytes, bytesMax } = facts;
  return new CoordinationError(
    'CALL_TOO_LARGE',
    `the ${part} of a call to "${service}" has ${bytes} bytes of JSON, and at most ${bytesMax} ` +
      'travel; store it elsewhere and send its key',
    facts,
  );
}

/** The error of a call that found a full queue. */
export function callQueueFullError(
  service: string,
  queuedMax: number,
): CoordinationError<'CALL_QUEUE_FULL'> {
  return new CoordinationError(
    'CALL_QUEUE_FULL',
    `${queuedMax} calls to "${service}" wait already; serve it on more nodes, or call less`,
    { service, queuedMax },
  );
}

/** The error of a call to a service that no node serves. */
export function callUnservedError(
  service: string,
  waitedMs: number,
): CoordinationError<'CALL_UNSERVED'> {
  return new CoordinationError(
    'CALL_UNSERVED',
    `no node serves "${service}", and none came within ${waitedMs} ms; start one with ` +
      'serveParticipant, with the same store and namespace, or look at the name',
    { service, waitedMs },
  );
}

/** The error of a call that was not answered in time. */
export function callTimeoutError(
  service: string,
  waitedMs: number,
  state: 'queued' | 'running',
): CoordinationError<'CALL_TIMEOUT'> {
  const why =
    state === 'queued'
      ? 'every node that serves it is busy: raise concurrency, or serve it on more nodes'
      : 'its handler is still at work';
  return new CoordinationError(
    'CALL_TIMEOUT',
    `"${service}" did not answer within ${waitedMs} ms; ${why}`,
    { service, waitedMs, state },
  );
}

/** The error of a call that its server answered with a no. */
export function callRefusedError(
  service: string,
  { reason, code, isConflict = false }: Omit<CallNo, 'vote'>,
): CoordinationError<'CALL_REFUSED'> {
  const details = { service, reason, code, isConflict };
  return new CoordinationError('CALL_REFUSED', `"${service}" refused: ${reason}`, details);
}

/** The error of a value that its schema does not take. */
export function callInvalidError(facts: {
  readonly service: string;
  readonly part: 'payload' | 'result';
  readonly issues: readonly string[];
}): CoordinationError<'CALL_INVALID'> {
  const { service, part, issues } = facts;
  return new CoordinationError(
    'CALL_INVALID',
    `the ${part} of a call to "${service}" does not fit its schema: ${issues.join('; ')}`,
    facts,
  );
}
