/** Any `user:password@` of an address, as far as it may reach: a password may hold an `@` itself. */
const LOGIN = /([a-z][a-z0-9+.-]*:\/\/)[^\s'"]*@/gi;

/** A text in which addresses have no login: messages of clients, and arguments, may hold one. */
export function withoutLogin(text: string): string {
  return text.replace(LOGIN, '$1***@');
}
