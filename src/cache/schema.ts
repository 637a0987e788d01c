import {
  issueLines,
  type StandardSchema,
  type StandardSchemaResult,
} from '../core/standard-schema.js';
import { cacheSchemaMismatch } from './diagnostics.js';
import type { LocalValue } from './driver.js';
import { handOut } from './isolation.js';
import type { TierCounter } from './stats.js';
import type { CacheValues } from './values.js';

/** What checks the values that a shared tier has. */
export interface SchemaCheck {
  readonly cache: string;
  readonly counter: TierCounter;
  readonly schema: StandardSchema<unknown>;
  readonly take: CacheValues['take'];
}

/**
 * The value as the schema made it, or undefined where it does not fit, which was counted and
 * published. That there is no value fits every schema.
 */
export async function fitting(
  { cache, counter, schema, take }: SchemaCheck,
  key: string,
  local: LocalValue,
): Promise<LocalValue | undefined> {
  if (local.isAbsent) return local;
  const mismatch = (issues: readonly string[]): undefined => {
    counter.schemaMismatchCount += 1;
    cacheSchemaMismatch.publish(() => ({ cache, tier: counter.backend, key, issues }));
  };
  try {
    const found = handOut(key, local);
    const checked: StandardSchemaResult<unknown> = await schema['~standard'].validate(found);
    if (checked.issues !== undefined) return mismatch(issueLines(checked.issues));
    if (checked.value === undefined) return mismatch(['the schema made nothing of it']);
    if (checked.value === found) return local;
    // What the schema made belongs to the schema: the cache has its own copy.
    const { value, isShareable, copy } = take(key, checked.value);
    return { ...local, value, isShareable, copy };
  } catch (error) {
    return mismatch([`the schema threw: ${String(error)}`]);
  }
}
