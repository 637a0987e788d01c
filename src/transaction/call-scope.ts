import type { AbortSource, LazyAbort } from '../core/abort.js';
import type { ParticipantCallOptions } from './participant.js';

/**
 * Marks what takes a {@link LazyAbort} in place of options, and listens to it without a signal of Node's:
 * the branches and logs of tricord. Whatever somebody else wrote, or wraps, gets plain options.
 */
export interface ScopeTaker {
  readonly takesScope: true;
}

/** The options of a call that the scope bounds. */
export function callOptions(callee: object, scope: LazyAbort): ParticipantCallOptions {
  return 'takesScope' in callee ? scope : { signal: scope.signal };
}

/** What aborts a call that was made with these options. */
export function sourceOf(options: ParticipantCallOptions | undefined): AbortSource | undefined {
  return options !== undefined && isScope(options) ? options : options?.signal;
}

function isScope(options: ParticipantCallOptions): options is LazyAbort {
  return 'addEventListener' in options;
}
