import { invalidArgument } from '../core/validate.js';

/** W3C Trace Context, level 1: version, trace, parent and flags; a later version may append more. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]{1,128})?$/;

/** Checks what a caller passes. @throws TypeError (INVALID_ARGUMENT) */
export function assertTraceparent(value: unknown): asserts value is string {
  if (isTraceparent(value)) return;
  const remedy = "a traceparent header of W3C Trace Context, '00-‹32 hex›-‹16 hex›-‹2 hex›'";
  throw invalidArgument('traceparent', value, remedy);
}

/** What a hook answers, where it is one: tracing never fails a transaction. */
export function traceparentOf(hook: () => unknown): { readonly traceparent?: string } {
  try {
    const value = hook();
    return isTraceparent(value) ? { traceparent: value } : {};
  } catch {
    return {};
  }
}

function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && TRACEPARENT.test(value);
}
