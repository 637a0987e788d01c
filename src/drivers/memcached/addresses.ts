import { invalidArgument } from '../../core/validate.js';

/** Where one server listens. */
export interface MemcachedAddress {
  readonly host: string;
  readonly port: number;
}

const PORT_DEFAULT = 11_211;
const ADDRESS = /^(?:\[([\da-f:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/i;
const REMEDY = "addresses as 'host', 'host:port' or '[ipv6]:port', each once, with commas between";

/**
 * Reads the addresses of servers, from a list or from a text with commas.
 *
 * @throws TypeError (INVALID_ARGUMENT) for none, for two that are the same and for what is no address.
 */
export function parseAddresses(servers: string | readonly string[]): readonly MemcachedAddress[] {
  const texts = typeof servers === 'string' ? servers.split(',') : servers;
  if (!Array.isArray(texts) || texts.length === 0) {
    throw invalidArgument('servers', servers, REMEDY);
  }
  const addresses = texts.map((text) => parseAddress(text));
  if (new Set(addresses.map(addressText)).size < addresses.length) {
    throw invalidArgument('servers', servers, REMEDY);
  }
  return addresses;
}

/** An address as messages show it. */
export function addressText({ host, port }: MemcachedAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseAddress(text: unknown): MemcachedAddress {
  const [, ipv6, name, digits] =
    (typeof text === 'string' ? ADDRESS.exec(text.trim()) : undefined) ?? [];
  const host = ipv6 ?? name;
  const port = digits === undefined ? PORT_DEFAULT : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw invalidArgument('servers', text, REMEDY);
  }
  return { host, port };
}
