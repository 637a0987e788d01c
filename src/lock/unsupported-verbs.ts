import { CoordinationError } from '../core/errors.js';
import type { LockBackend } from './driver.js';

/** The verbs that a driver does not have yet, each refused with BACKEND_UNSUPPORTED. */
export function unsupportedVerbs(
  backend: string,
): Pick<LockBackend, 'downgrade' | 'list' | 'forceRelease'> {
  const refusal = (verb: string): CoordinationError<'BACKEND_UNSUPPORTED'> =>
    new CoordinationError('BACKEND_UNSUPPORTED', `the ${backend} driver cannot ${verb} yet`, {
      backend,
      setting: verb,
      found: 'no such verb',
      needed: 'a driver that has it',
    });
  return {
    downgrade: async () => {
      throw refusal('downgrade');
    },
    // biome-ignore lint/correctness/useYield: it refuses before it has anything to answer.
    async *list() {
      throw refusal('list');
    },
    forceRelease: async () => {
      throw refusal('force a release');
    },
  };
}
