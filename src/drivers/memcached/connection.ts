import type { Socket } from 'node:net';
import type { TextEncoding } from '../../cache/driver.js';
import type { Clock } from '../../core/clock.js';
import { type Deadlines, deadlines } from '../../core/deadlines.js';
import { replyError, unavailable, unknown } from './errors.js';
import { type MetaReply, metaReader } from './meta-reader.js';

/** A reply, and what was true on this server just before it. */
export interface Answer {
  readonly reply: MetaReply;
  /** The cache's generation, read in the same message before the request; see `keys.ts`. */
  readonly generation: string | undefined;
  /** Where it came from. CAS numbers mean something on this connection only. */
  readonly connection: MemcachedConnection;
}

/** One connection that speaks the meta protocol, with many requests under way. */
export interface MemcachedConnection {
  readonly isOpen: boolean;
  /** Sends a request with the others of this turn in one message; settles within `timeoutMs`. */
  request(operation: string, command: string, timeoutMs: number): Promise<Answer>;
  /** Ends it; what was under way is unknown. */
  close(why: string): void;
}

interface Message {
  generation: string | undefined;
}

interface Pending {
  readonly operation: string;
  readonly message: Message;
  /** Undefined: it asks for the generation of its message. */
  readonly settle: ((reply: MetaReply | undefined, error?: unknown) => void) | undefined;
}

/** So many requests may wait for replies; more are refused. */
const PENDING_MAX = 10_000;

/** Takes over a socket that is connected, and on which nothing is under way. */
export function memcachedConnection(options: {
  readonly socket: Socket;
  readonly clock: Clock;
  /** What is asked at the beginning of every message: `mg …`. */
  readonly generationCommand: string;
  readonly encoding: TextEncoding;
  readonly onClose: () => void;
}): MemcachedConnection {
  const { socket, clock, generationCommand, encoding, onClose } = options;
  const times: Deadlines = deadlines(clock);
  let pending: Pending[] = [];
  /** Replies so far settled of `pending`: shifting a long array is slow. */
  let settledCount = 0;
  let outgoing = '';
  let message: Message | undefined;
  let receivedCount = 0;
  let isOpen = true;

  const close = (why: string): void => {
    if (!isOpen) return;
    isOpen = false;
    socket.destroy();
    const lost = pending.slice(settledCount);
    pending = [];
    settledCount = 0;
    for (const { settle, operation } of lost) settle?.(undefined, unknown(operation, why));
    onClose();
  };
  const onReply = (reply: MetaReply): void => {
    const first = pending[settledCount];
    if (first === undefined) throw new Error('a reply came that nobody asked for');
    settledCount += 1;
    if (settledCount === pending.length) {
      pending = [];
      settledCount = 0;
      socket.unref();
    } else if (settledCount >= 1_024) {
      pending = pending.slice(settledCount);
      settledCount = 0;
    }
    if (first.settle !== undefined) first.settle(reply);
    else if (reply.status === 'VA') first.message.generation = reply.data;
  };
  const reader = metaReader(onReply, encoding);
  socket.on('data', (bytes: Buffer) => {
    receivedCount += 1;
    try {
      reader.push(bytes);
    } catch (error) {
      close(`${error instanceof Error ? error.message : error}`);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => close('the connection was closed'));

  const flush = (): void => {
    const text = outgoing;
    outgoing = '';
    message = undefined;
    if (isOpen) socket.write(text, encoding);
  };
  const openMessage = (): Message => {
    const opened: Message = { generation: undefined };
    outgoing = generationCommand;
    pending.push({ operation: 'mg', message: opened, settle: undefined });
    socket.ref();
    // After the microtasks of this turn: what they send goes into the same message.
    process.nextTick(flush);
    return opened;
  };

  const connection: MemcachedConnection = {
    get isOpen() {
      return isOpen;
    },
    request(operation, command, timeoutMs) {
      if (!isOpen) return Promise.reject(unavailable(operation, 'the connection was closed'));
      if (pending.length - settledCount >= PENDING_MAX) {
        return Promise.reject(unavailable(operation, `${PENDING_MAX} requests have no reply yet`));
      }
      message ??= openMessage();
      const sentIn = message;
      outgoing += command;
      const receivedBefore = receivedCount;
      return new Promise((resolve, reject) => {
        const letGo = times.after(timeoutMs, () => {
          reject(unknown(operation, `no reply within ${timeoutMs} ms`));
          // A server that said nothing at all since then is frozen, or cut off.
          if (receivedCount === receivedBefore) close('the server was silent');
        });
        const settle = (reply: MetaReply | undefined, error?: unknown): void => {
          letGo();
          if (reply === undefined) reject(error);
          else if (reply.status.endsWith('ERROR')) reject(replyError(operation, reply));
          else resolve({ reply, generation: sentIn.generation, connection });
        };
        pending.push({ operation, message: sentIn, settle });
      });
    },
    close,
  };
  return connection;
}
