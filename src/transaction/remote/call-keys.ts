import { invalidArgument } from '../../core/validate.js';

const SERVICE = /^[\w.-]{1,64}$/;

/** Payload and result of a call are at most so large each, in bytes of JSON. */
export const CALL_BYTES_MAX: number = 256 * 1_024;
/** So many calls of one service wait at most; more are refused with CALL_QUEUE_FULL. */
export const QUEUED_MAX = 10_000;

/** Checks the name of a service, which stands in commit records for ever. */
export function assertServiceName(value: unknown, argument = 'name'): asserts value is string {
  if (typeof value !== 'string' || !SERVICE.test(value)) {
    throw invalidArgument(argument, value, '1 to 64 characters of [A-Za-z0-9_.-]');
  }
}
