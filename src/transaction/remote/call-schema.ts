import { issueLines, type StandardSchema } from '../../core/standard-schema.js';
import { invalidArgument } from '../../core/validate.js';
import { callInvalidError, callTooLargeError } from './call-errors.js';

/** What payload and result of a service look like; either side may have both. */
export interface CallSchemas<Payload, Result> {
  /** Of what is sent. */
  readonly payload?: StandardSchema<Payload> | undefined;
  /** Of what is answered. */
  readonly result?: StandardSchema<Result> | undefined;
}

/** Which value of which call. */
export interface CallPart {
  readonly service: string;
  readonly part: 'payload' | 'result';
}

/** The value as its schema has it. Rejects with CALL_INVALID; without a schema, anything fits. */
export async function fitted<Value>(
  schema: StandardSchema<Value> | undefined,
  value: unknown,
  part: CallPart,
): Promise<Value> {
  if (schema === undefined) return value as Value;
  const checked = await schema['~standard'].validate(value);
  if (checked.issues === undefined) return checked.value;
  throw callInvalidError({ ...part, issues: issueLines(checked.issues) });
}

/** The value as JSON. Throws a TypeError for what JSON does not hold, and CALL_TOO_LARGE. */
export function encoded(value: unknown, part: CallPart, bytesMax: number): string {
  const text = jsonOf(value);
  if (text === undefined) throw invalidArgument(part.part, value, 'plain data: what JSON holds');
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) throw callTooLargeError({ ...part, bytes, bytesMax });
  return text;
}

/** Undefined for what JSON does not hold: a function, a bigint, what contains itself. */
function jsonOf(value: unknown): string | undefined {
  try {
    // Nothing at all is a fine answer, which JSON has no word for.
    return JSON.stringify(value === undefined ? null : value);
  } catch {
    return undefined;
  }
}
