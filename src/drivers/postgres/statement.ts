/** Blanks, empty statements and comments before the first word. Nested comments are left to the tag. */
const LEADING = /^(?:\s+|;|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/;
/** What begins or ends a transaction; ROLLBACK TO only goes back to a savepoint. */
const CONTROL =
  /^(?:commit|end|abort|begin|start\s+transaction|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i;
const NOTIFICATION = /listen|notify/i;
/** Commands that by themselves write nothing; a function or FOR UPDATE inside may. */
const READS: ReadonlySet<string> = new Set([
  'CLOSE',
  'EXPLAIN',
  'FETCH',
  'RELEASE',
  'ROLLBACK',
  'SAVEPOINT',
  'SELECT',
  'SET',
  'SHOW',
]);

/** The first words of a statement that would begin or end a transaction; undefined for any other. */
export function transactionControl(text: string): string | undefined {
  return CONTROL.exec(text.replace(LEADING, ''))?.[0].toUpperCase();
}

/**
 * The command that ended the branch, seen in the tags of what was executed; undefined when none did.
 * A lone ROLLBACK may have gone back to a savepoint: then `isIdle` says whether a transaction is left.
 */
export function endingCommand(tags: readonly string[], isIdle: boolean): string | undefined {
  const ended = tags.findIndex(
    (tag) => tag === 'COMMIT' || tag === 'PREPARE' || tag === 'ROLLBACK',
  );
  const tag = tags[ended];
  if (tag === undefined || tag === 'COMMIT') return tag;
  const begunAgain = tags.slice(ended).some((each) => each === 'BEGIN' || each === 'START');
  return isIdle || begunAgain ? tag : undefined;
}

/** Whether a command may have written, as far as its tag tells. */
export function mayWrite(tag: string): boolean {
  return !READS.has(tag);
}

/** Whether a text may listen or notify, which only PREPARE TRANSACTION can find out for certain. */
export function mayNotify(text: string): boolean {
  return NOTIFICATION.test(text);
}
