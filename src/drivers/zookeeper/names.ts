const PLAIN = /[A-Za-z0-9_-]/;

/**
 * A text as one znode name: every byte outside `A–Z a–z 0–9 _ -` becomes `%XX`. The server refuses
 * surrogates and control characters, `/` separates, and `.` and `..` alone are not names.
 */
export function encodeName(text: string): string {
  return Array.from(Buffer.from(text), (byte) => {
    const character = String.fromCharCode(byte);
    return PLAIN.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

/** The parent of a path; empty for a path at the top. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
