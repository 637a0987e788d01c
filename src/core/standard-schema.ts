/** What a schema by the Standard Schema interface (zod, valibot, arktype and others) has to have. */
export interface StandardSchema<Value> {
  /** The part that the interface names. */
  readonly '~standard': {
    /** Of the interface. */
    readonly version: 1;
    /** Checks a value, and answers what it made of it. */
    readonly validate: (
      value: unknown,
    ) => StandardSchemaResult<Value> | Promise<StandardSchemaResult<Value>>;
  };
}

/** What a schema answers: a value, or what is wrong with it. */
export type StandardSchemaResult<Value> =
  | { readonly value: Value; readonly issues?: undefined }
  | { readonly issues: readonly StandardSchemaIssue[] };

/** One thing that is wrong, and where. */
export interface StandardSchemaIssue {
  /** What is wrong, in a sentence. */
  readonly message: string;
  /** The keys that lead to it. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

const ISSUES_MAX = 5;

/** The first issues of many, a line each: `path: message`. */
export function issueLines(issues: readonly StandardSchemaIssue[]): readonly string[] {
  return issues.slice(0, ISSUES_MAX).map(({ message, path = [] }) => {
    const steps = path.map((step) => String(typeof step === 'object' ? step.key : step));
    return steps.length === 0 ? message : `${steps.join('.')}: ${message}`;
  });
}
