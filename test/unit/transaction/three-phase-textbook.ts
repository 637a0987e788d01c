import {
  backupTermination,
  type TerminationRules,
} from '../../../src/transaction/three-phase/termination.js';

/**
 * The rule of most tutorials: who waits in vain after its yes aborts, who waits in vain after the
 * pre-commit commits. It stands here to be refuted.
 */
export const textbookTermination: TerminationRules = {
  ...backupTermination,
  onSilence: ({ state }) => (state === 'PC' ? 'commit' : 'abort'),
};
