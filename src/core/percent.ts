/**
 * The text with every byte that is not plain as `%XX`; injective as long as `%` is not plain.
 * `plain` matches a text that has only plain characters, each of them ASCII, and the empty one.
 */
export function percentEncode(text: string, plain: RegExp): string {
  if (plain.test(text)) return text;
  return Array.from(Buffer.from(text), (byte) => {
    const character = String.fromCharCode(byte);
    return plain.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}
