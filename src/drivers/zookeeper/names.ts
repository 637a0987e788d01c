/**
 * A text as one znode name: every byte outside `A–Z a–z 0–9 _ -` becomes `%XX`. The server refuses
 * surrogates and control characters, `/` separates, and `.` and `..` alone are not names. Throws a
 * URIError for a text with half a surrogate pair, which callers have refused before.
 */
export function encodeName(text: string): string {
  return encodeURIComponent(text).replace(/[.!~*'()]/g, percentOf);
}

function percentOf(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** The text that {@link encodeName} made a name of; undefined for a name that it did not make. */
export function decodeName(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}

/** The parent of a path; empty for a path at the top. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
