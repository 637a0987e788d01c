import { invalidArgument } from '../../core/validate.js';
import { callInvalidError, callTooLargeError } from './call-errors.js';

/** What a schema by the Standard Schema interface (zod, valibot, arktype and others) has to have. */
export interface CallSchema<Value> {
  /** The part that the interface names. */
  readonly '~standard': {
    /** Of the interface. */
    readonly version: 1;
    /** Checks a value, and answers what it made of it. */
    readonly validate: (
      value: unknown,
    ) => CallSchemaResult<Value> | Promise<CallSchemaResult<Value>>;
  };
}

/** What a schema answers: a value, or what is wrong with it. */
export type CallSchemaResult<Value> =
  | { readonly value: Value; readonly issues?: undefined }
  | { readonly issues: readonly CallSchemaIssue[] };

/** One thing that is wrong, and where. */
export interface CallSchemaIssue {
  /** What is wrong, in a sentence. */
  readonly message: string;
  /** The keys that lead to it. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What payload and result of a service look like; either side may have both. */
export interface CallSchemas<Payload, Result> {
  /** Of what is sent. */
  readonly payload?: CallSchema<Payload> | undefined;
  /** Of what is answered. */
  readonly result?: CallSchema<Result> | undefined;
}

/** Which value of which call. */
export interface CallPart {
  readonly service: string;
  readonly part: 'payload' | 'result';
}

const ISSUES_MAX = 5;

/** The value as its schema has it. Rejects with CALL_INVALID; without a schema, anything fits. */
export async function fitted<Value>(
  schema: CallSchema<Value> | undefined,
  value: unknown,
  part: CallPart,
): Promise<Value> {
  if (schema === undefined) return value as Value;
  const checked = await schema['~standard'].validate(value);
  if (checked.issues === undefined) return checked.value;
  const issues = checked.issues.slice(0, ISSUES_MAX).map(({ message, path = [] }) => {
    const steps = path.map((step) => String(typeof step === 'object' ? step.key : step));
    return steps.length === 0 ? message : `${steps.join('.')}: ${message}`;
  });
  throw callInvalidError({ ...part, issues });
}

/** The value as JSON. Throws a TypeError for what JSON does not hold, and CALL_TOO_LARGE. */
export function encoded(value: unknown, part: CallPart, bytesMax: number): string {
  // Nothing at all is a fine answer, which JSON has no word for.
  const text: string | undefined = JSON.stringify(value === undefined ? null : value);
  if (text === undefined) throw invalidArgument(part.part, value, 'plain data: what JSON holds');
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) throw callTooLargeError({ ...part, bytes, bytesMax });
  return text;
}
