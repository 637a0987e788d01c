import { invalidArgument } from '../../core/validate.js';

/** A value that can stand in a statement as text: no arrays, buffers or objects. */
export type PostgresLiteral = string | number | bigint | boolean | null | undefined;

/**
 * A text as an SQL literal. Right whatever `standard_conforming_strings` is: with a backslash in it,
 * the literal says by its E how backslashes are meant.
 */
export function textLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? ` E${quoted}` : quoted;
}

/**
 * A value as an SQL literal of no type of its own, so that it takes the type of where it stands, as a
 * parameter would.
 *
 * @throws TypeError (INVALID_ARGUMENT) for anything but texts, numbers, booleans and null.
 */
export function literalText(argument: string, value: PostgresLiteral): string {
  if (value === null || value === undefined) return 'null';
  const isPlain = ['string', 'number', 'bigint', 'boolean'].includes(typeof value);
  const isText = isPlain && !String(value).includes('\0');
  if (!isText) throw invalidArgument(argument, value, 'a text, a number, a boolean or null');
  return textLiteral(String(value));
}
