import { invalidArgument } from './validate.js';

const PARTICIPANT_NAME = /^[\w.-]{1,64}$/;

/** Checks the name of a participant, which stands in commit records for ever. */
export function assertParticipantName(value: unknown, argument = 'name'): asserts value is string {
  if (typeof value !== 'string' || !PARTICIPANT_NAME.test(value)) {
    throw invalidArgument(argument, value, '1 to 64 characters of [A-Za-z0-9_.-]');
  }
}
