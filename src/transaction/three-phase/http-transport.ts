import { Buffer } from 'node:buffer';
import { createHash, timingSafeEqual } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { abortScope } from '../../core/abort.js';
import { assertNumber, assertOptions, invalidArgument } from '../../core/validate.js';
import { isSiteName } from './site-letters.js';
import type { SiteNode } from './site-storage.js';
import type { SiteLine, SiteTransport } from './site-transport.js';

/** The part of a request of `node:http` that is read. Express and fastify (`request.raw`) have it. */
export interface HttpRequest extends AsyncIterable<unknown> {
  /** The method. */
  readonly method?: string | undefined;
  /** The headers, by lower-case name. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body, where a body parser has read it before. */
  readonly body?: unknown;
}

/** The part of a response of `node:http` that is written. */
export interface HttpResponse {
  /** The status. */
  statusCode: number;
  /** Ends the response. */
  end(text?: string): unknown;
}

/** Options of {@link httpTransport}. */
export interface HttpTransportOptions {
  /**
   * Where each site's handler is mounted, by site name: `{ 'stock-1': 'http://stock-1:8080/tricord' }`, or
   * a function, where addresses change.
   */
  readonly addresses:
    | Readonly<Record<string, string>>
    | ((site: string) => string | undefined | Promise<string | undefined>);
  /**
   * A secret that all sites share, 16 characters or more: it is sent in a header, so use TLS where others
   * can listen, and messages without it are refused with 401. Without it and without `authorize`, whoever
   * reaches the handler can vote.
   */
  readonly secret?: string | undefined;
  /** Headers to send along, for example a token: made anew for each message. */
  readonly headers?:
    | ((
        site: string,
      ) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>)
    | undefined;
  /** Whether a request is of a site, beside `secret`. Anything but true is refused with 401. */
  readonly authorize?: ((request: HttpRequest) => boolean | Promise<boolean>) | undefined;
  /** How long one message may take, in milliseconds. Default 2,000. */
  readonly timeoutMs?: number | undefined;
  /** What sends. Default the global `fetch`. */
  readonly fetch?: HttpFetch | undefined;
}

/** The part of `fetch` that is called. */
export type HttpFetch = (
  url: string,
  options: {
    readonly method: 'POST';
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
    readonly signal: AbortSignal;
    readonly redirect: 'error';
  },
) => Promise<HttpAnswer>;

/** The part of the answer of `fetch` that is read. */
export interface HttpAnswer {
  /** The status. */
  readonly status: number;
  /** The body, which is not looked at. */
  text(): Promise<string>;
}

/** A transport with the handler that receives. */
export interface HttpTransport extends SiteTransport {
  /**
   * Answers a message of another site: mount it for POST on your own server, under the address that the
   * others know. Works with `node:http`, express (also behind a JSON or text body parser) and fastify's
   * `request.raw` and `reply.raw`. Answers 204 when taken, 400, 401, 405, 413, or 503 where the site does
   * not listen. Never rejects.
   */
  readonly handler: (request: HttpRequest, response: HttpResponse) => Promise<void>;
}

const TIMEOUT_MS = 2_000;
const SECRET_MIN = 16;
const SECRET_HEADER = 'x-tricord-secret';
const SITE_HEADER = 'x-tricord-site';
const NAMESPACE_HEADER = 'x-tricord-namespace';
/** Four bytes a character at most. */
const BODY_BYTES_MAX = 4 * 65_536;

/**
 * Messages between sites over HTTP, on the services' own servers: no backend in between, so that a
 * majority goes on whatever else is down.
 *
 * ```ts
 * const transport = httpTransport({ addresses, secret });
 * createServer((request, response) => {
 *   if (request.url === '/tricord') return void transport.handler(request, response);
 *   …
 * });
 * ```
 *
 * Messages hold ids of transactions and states, nothing of what was worked.
 *
 * @throws TypeError (INVALID_ARGUMENT) for ill-formed options.
 */
export function httpTransport(options: HttpTransportOptions): HttpTransport {
  const settings = checked(options);
  const listeners = new Map<string, (text: string) => void>();
  const keyOf = (namespace: string, site: string): string => `${namespace} ${site}`;
  return {
    backend: 'http',
    open(node, receive) {
      const key = keyOf(node.namespace, node.site);
      listeners.set(key, receive);
      return httpLine(node, settings, () => {
        if (listeners.get(key) === receive) listeners.delete(key);
      });
    },
    async handler(request, response) {
      let status = 400;
      try {
        const to = keyOf(header(request, NAMESPACE_HEADER), header(request, SITE_HEADER));
        status = await received(settings, request, listeners.get(to));
      } catch {
        // The connection broke, or the hook threw: the message is as good as lost.
      }
      response.statusCode = status;
      response.end();
    },
  };
}

interface Checked {
  readonly addressOf: (site: string) => Promise<string | undefined>;
  readonly secret: string | undefined;
  readonly headers: NonNullable<HttpTransportOptions['headers']>;
  readonly authorize: HttpTransportOptions['authorize'];
  readonly timeoutMs: number;
  readonly send: HttpFetch;
}

function checked(options: HttpTransportOptions): Checked {
  assertOptions(options, '{ addresses, secret }');
  const { addresses, secret, authorize, headers = () => ({}), timeoutMs = TIMEOUT_MS } = options;
  assertNumber('timeoutMs', timeoutMs, { min: 1 });
  if (secret !== undefined && (typeof secret !== 'string' || secret.length < SECRET_MIN)) {
    // The value stays out of the message.
    throw invalidArgument('secret', typeof secret, `a text of ${SECRET_MIN} characters or more`);
  }
  if (typeof addresses === 'object' && addresses !== null) {
    for (const [site, address] of Object.entries(addresses)) assertAddress(site, address);
  } else if (typeof addresses !== 'function') {
    throw invalidArgument('addresses', addresses, "{ 'stock-1': 'http://…' }, or a function");
  }
  return {
    addressOf: async (site) =>
      typeof addresses === 'function' ? addresses(site) : addresses[site],
    secret,
    authorize,
    headers,
    timeoutMs,
    send: options.fetch ?? ((url, request) => fetch(url, request)),
  };
}

function assertAddress(site: string, address: unknown): void {
  const isHttp =
    typeof address === 'string' && /^https?:\/\//.test(address) && URL.canParse(address);
  if (isSiteName(site) && isHttp) return;
  throw invalidArgument(`addresses['${site}']`, isHttp ? site : typeof address, 'an http(s) URL');
}

function httpLine(
  { site, namespace, clock }: SiteNode,
  settings: Checked,
  end: () => void,
): SiteLine {
  const closing = new AbortController();
  // Each message under way listens: their number is load, not a leak worth a warning.
  setMaxListeners(0, closing.signal);
  const { addressOf, secret, headers, timeoutMs, send } = settings;
  return {
    async send(to, text) {
      using scope = abortScope({ clock, parents: [closing.signal], timeoutMs });
      const address = await addressOf(to);
      if (address === undefined) throw new Error(`no address is known of site "${to}"`);
      const own = {
        'content-type': 'text/plain; charset=utf-8',
        [NAMESPACE_HEADER]: namespace,
        [SITE_HEADER]: to,
        ...(secret !== undefined && { [SECRET_HEADER]: secret }),
      };
      const request = {
        method: 'POST',
        headers: { ...(await headers(to)), ...own },
        body: text,
        signal: scope.signal,
        // A redirection would send the secret elsewhere.
        redirect: 'error',
      } as const;
      const response = await send(address, request);
      // Read, so that the connection can be used again.
      await response.text();
      if (response.status !== 204) {
        throw new Error(`site "${to}" answered ${response.status} to a message of "${site}"`);
      }
    },
    async close() {
      end();
      closing.abort(new Error('the site was closed'));
    },
  };
}

/** Takes a message, and answers the status. */
async function received(
  { secret, authorize }: Checked,
  request: HttpRequest,
  receive: ((text: string) => void) | undefined,
): Promise<number> {
  if (request.method !== 'POST') return 405;
  if (secret !== undefined && !isSame(secret, header(request, SECRET_HEADER))) return 401;
  if (authorize !== undefined && (await authorize(request)) !== true) return 401;
  if (receive === undefined) return 503;
  const text = await bodyOf(request);
  if (text === undefined) return 413;
  receive(text);
  return 204;
}

/** Compared in a time that does not tell how much of it is right. */
function isSame(expected: string, given: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(expected), digest(given));
}

function header({ headers }: HttpRequest, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : '';
}

/** The body as a text; undefined when it is too large. */
async function bodyOf(request: HttpRequest): Promise<string | undefined> {
  const { body } = request;
  if (typeof body === 'string') return body.length > BODY_BYTES_MAX ? undefined : body;
  if (Buffer.isBuffer(body)) return body.length > BODY_BYTES_MAX ? undefined : body.toString();
  if (typeof body === 'object' && body !== null) return JSON.stringify(body);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    const part = Buffer.from(chunk as Uint8Array);
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString();
}
