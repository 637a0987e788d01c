import { backoffMs } from '../../core/backoff.js';
import type { CancelTimer } from '../../core/clock.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import type { SiteNode } from '../../transaction/three-phase/site-storage.js';
import type { SiteLine, SiteTransport } from '../../transaction/three-phase/site-transport.js';
import { REPLY_TIMEOUT_MS_DEFAULT, redisCalls } from './calls.js';
import { assertClient, keyPrefixOf, type RedisClient, type RedisSubscriber } from './client.js';
import { type RedisKeys, redisKeys } from './keys.js';
import { redisScript } from './script.js';

/** Options of {@link redisTransport}. */
export interface RedisTransportOptions {
  /** The service's own ioredis client (`Redis` or `Cluster`, 5 or 6). It is never closed. */
  readonly client: RedisClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /** How long one reply is awaited, in milliseconds. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
}

/** A stream holds so many messages, give or take a hundred; older ones are lost. */
const LENGTH_MAX = 10_000;
/** A stream that nobody reads vanishes after so long. */
const KEPT_MS = 86_400_000;
const PAGE = 100;
/** How often a stream is looked at without a hint. */
const POLL_MS = 1_000;
const REOPEN = { baseMs: 500, maxMs: 30_000 };

/** KEYS[1] stream; ARGV message, channel. Puts it last, and tells the reader. */
const SEND = redisScript(
  'site.send',
  `redis.call('xadd', KEYS[1], 'maxlen', '~', ${LENGTH_MAX}, '*', 'm', ARGV[1])
redis.call('pexpire', KEYS[1], ${KEPT_MS})
return redis.call('publish', ARGV[2], '1')`,
);
/** KEYS[1] stream → the oldest messages, which leave the stream: what gets lost now is sent again. */
const TAKE = redisScript(
  'site.take',
  `local texts = {}
for _, entry in ipairs(redis.call('xrange', KEYS[1], '-', '+', 'count', ${PAGE})) do
  texts[#texts + 1] = entry[2][2]
  redis.call('xdel', KEYS[1], entry[1])
end
return texts`,
);

/**
 * Messages between sites in Redis streams, one for each site; a subscription, on a duplicate of the
 * client, only saves waiting. It works as long as this Redis does: give it another one than the
 * transaction store's where a majority is to go on without the store, or use `httpTransport`.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed client, namespace or number.
 */
export function redisTransport(options: RedisTransportOptions): SiteTransport {
  assertOptions(options, '{ client }');
  const { client, namespace, replyTimeoutMs = REPLY_TIMEOUT_MS_DEFAULT } = options;
  assertClient(client);
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 1 });
  const keys = redisKeys('site', namespace);
  return {
    backend: 'redis',
    open: (node, receive) => redisLine(node, receive, { client, keys, replyTimeoutMs }),
  };
}

function redisLine(
  node: SiteNode,
  receive: (text: string) => void,
  options: {
    readonly client: RedisClient;
    readonly keys: RedisKeys;
    readonly replyTimeoutMs: number;
  },
): SiteLine {
  const { client, keys, replyTimeoutMs } = options;
  const { clock } = node;
  const calls = redisCalls({ client, clock, timeoutMs: replyTimeoutMs });
  const tagOf = (site: string): string => `${node.namespace}:${site}`;
  const streamOf = (site: string): string => keys.key(tagOf(site), ':inbox');
  const channelOf = (site: string): string =>
    keyPrefixOf(client) + keys.channel(`inbox:${tagOf(site)}`);
  let isClosed = false;
  let isTaking = false;
  let isDue = false;
  let cancelPoll: CancelTimer = () => {};

  const takeAll = async (): Promise<void> => {
    while (!isClosed) {
      isDue = false;
      const texts = await calls.script(TAKE, [streamOf(node.site)], []);
      const found = (texts as readonly unknown[]).map(String);
      for (const text of found) if (!isClosed) receive(text);
      if (found.length < PAGE && !isDue) return;
    }
  };
  const take = (): void => {
    isDue = true;
    if (isTaking) return;
    isTaking = true;
    const over = (): void => {
      isTaking = false;
    };
    // What could not be taken now is taken by the next look.
    takeAll().then(over, over);
  };
  const poll = (): void => {
    if (isClosed) return;
    take();
    cancelPoll = clock.schedule(POLL_MS, poll, { keepAlive: false });
  };
  const hints = hintsFor(node, client, channelOf(node.site), take);
  poll();
  return {
    async send(to, text) {
      await calls.script(SEND, [streamOf(to)], [text, channelOf(to)]);
    },
    async close() {
      isClosed = true;
      cancelPoll();
      hints.close();
      calls.dispose();
    },
  };
}

/** Hears that something has arrived, and that something may have been missed. */
function hintsFor(
  { clock, random }: SiteNode,
  client: RedisClient,
  channel: string,
  heard: () => void,
): { close(): void } {
  let subscriber: RedisSubscriber | undefined;
  let attempts = 0;
  let isClosed = false;
  let cancelReopen: CancelTimer = () => {};

  const reopen = (): void => {
    if (isClosed) return;
    const delayMs = backoffMs(attempts, REOPEN, random);
    attempts += 1;
    cancelReopen = clock.schedule(delayMs, open, { keepAlive: false });
  };
  const open = (): void => {
    if (isClosed) return;
    const connection = client.duplicate();
    subscriber = connection;
    // A client reports each failed attempt to connect; without a listener it prints them.
    connection.on('error', () => {});
    connection.on('message', heard);
    connection.on('end', reopen);
    connection.on('ready', () => {
      connection.subscribe(channel).then(
        () => {
          attempts = 0;
          heard();
        },
        () => {},
      );
    });
    if (connection.status === 'wait') connection.connect().catch(() => {});
  };
  open();
  return {
    close() {
      isClosed = true;
      cancelReopen();
      subscriber?.disconnect();
    },
  };
}
