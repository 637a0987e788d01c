/** Blanks, empty statements and comments before the first word; `/*!` begins code, not a comment. */
const LEADING = /^(?:\s+|;|--(?=\s|$)[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|\/\*(?!M?!)[\s\S]*?\*\/)+/;
const EXECUTABLE_COMMENT = /^\/\*M?!\d*\s*/;
/** What begins or ends a transaction; ROLLBACK TO only goes back to a savepoint. */
const CONTROL =
  /^(?:commit|begin(?!\s+not\b)|start\s+transaction|xa|rollback(?!\s+(?:work\s+)?to\b))\b/i;
/** What commits implicitly, by both servers' lists. Temporary tables do not. */
const IMPLICIT_COMMIT =
  /^(?:alter|analyze|cache\s+index|check\s+table|change|create(?!\s+(?:or\s+replace\s+)?temporary\b)|drop(?!\s+temporary\b)|flush|grant|install|load\s+index|lock\s+tables?|optimize|rename|repair|reset|revoke|set\s+password|start\s+(?:slave|replica)|stop\s+(?:slave|replica)|truncate|uninstall|unlock\s+tables)\b/i;
const READ =
  /^(?:select|show|explain|describe|desc|savepoint|release\s+savepoint|rollback|table|values|with|set)\b/i;
/** A read that locks or writes a file, or a WITH in front of a write. */
const NOT_ONLY_READ = /\b(?:for\s+(?:update|share)|lock\s+in|into|insert|update|delete|replace)\b/i;
const SAVEPOINT = /^savepoint\s+(\S+?)\s*;?\s*$/i;
const ROLLBACK_TO = /^rollback\s+(?:work\s+)?to\s+(?:savepoint\s+)?(\S+?)\s*;?\s*$/i;

/** The text from its first word on. */
export function bareText(text: string): string {
  return text.replace(LEADING, '').replace(EXECUTABLE_COMMENT, '');
}

/** The first words of a statement that would begin or end a transaction; undefined for any other. */
export function transactionControl(text: string): string | undefined {
  const found = CONTROL.exec(text) ?? IMPLICIT_COMMIT.exec(text);
  return found?.[0].toUpperCase();
}

/** Whether a text only reads, as far as it tells: a function or a view inside it may write. */
export function looksLikeRead(text: string): boolean {
  return READ.test(text) && !NOT_ONLY_READ.test(text);
}

/** The savepoint that a text sets. */
export function savepointIn(text: string): string | undefined {
  return plainName(SAVEPOINT.exec(text)?.[1]);
}

/** The savepoint that a text goes back to. */
export function rollbackTargetIn(text: string): string | undefined {
  return plainName(ROLLBACK_TO.exec(text)?.[1]);
}

/** Savepoints are told apart without regard to case. */
function plainName(name: string | undefined): string | undefined {
  return name?.replaceAll('`', '').toLowerCase();
}
