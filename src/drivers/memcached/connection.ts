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
  /**
   * Sends a request with the others of this turn in one message; settles within `timeoutMs`, with
   * what `finish` makes of the answer.
   */
  request<Result>(
    operation: string,
    command: string,
    timeoutMs: number,
    finish: (answer: Answer) => Result,
  ): Promise<Result>;
  /** Ends it; what was under way is unknown. */
  close(why: string): void;
}

/** What is sent at once, and is waited for with one timer: so far as its requests have the same time. */
interface Message {
  generation: string | undefined;
  readonly timeoutMs: number;
  /** How many replies had come before it. */
  readonly receivedBefore: number;
  unansweredCount: number;
  letGo: () => void;
}

interface Pending {
  readonly operation: string;
  readonly message: Message;
  /** Undefined: it asks for the generation of its message. */
  readonly settle: ((reply: MetaReply | undefined, error?: unknown) => void) | undefined;
  /** The end of a wait that is not the message's. */
  letGo: (() => void) | undefined;
}

/** So many requests may wait for replies; more are refused. */
const PENDING_MAX = 10_000;
/** So many requests are one message: the server answers it while the next one is put together. */
const MESSAGE_SIZE_MAX = 32;

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
  const queue = pendingQueue();
  let outgoing = '';
  let message: Message | undefined;
  let receivedCount = 0;
  let isOpen = true;

  const close = (why: string): void => {
    if (!isOpen) return;
    isOpen = false;
    socket.destroy();
    for (const one of queue.takeAll()) end(one, undefined, unknown(one.operation, why));
    onClose();
  };
  const onReply = (reply: MetaReply): void => {
    const first = queue.take();
    if (first === undefined) throw new Error('a reply came that nobody asked for');
    if (queue.size === 0) socket.unref();
    if (first.settle !== undefined) end(first, reply);
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
    if (message === undefined) return;
    const text = outgoing;
    outgoing = '';
    message = undefined;
    if (isOpen) socket.write(text, encoding);
  };
  const late = ({ operation, settle }: Pending, { timeoutMs, receivedBefore }: Late): void => {
    settle?.(undefined, unknown(operation, `no reply within ${timeoutMs} ms`));
    // A server that said nothing at all since then is frozen, or cut off.
    if (receivedCount === receivedBefore) close('the server was silent');
  };
  const openMessage = (timeoutMs: number): Message => {
    const receivedBefore = receivedCount;
    const onLate = (): void => {
      const isLate = (one: Pending): boolean => one.message === opened && one.letGo === undefined;
      for (const one of queue.list().filter(isLate)) late(one, opened);
    };
    const letGo = times.after(timeoutMs, onLate);
    const opened: Message = {
      ...{ generation: undefined, timeoutMs, receivedBefore, unansweredCount: 0 },
      letGo,
    };
    outgoing = generationCommand;
    if (queue.size === 0) socket.ref();
    queue.add({ operation: 'mg', message: opened, settle: undefined, letGo: undefined });
    // After the microtasks of this turn: what they send goes into the same message.
    process.nextTick(flush);
    return opened;
  };

  const connection: MemcachedConnection = {
    get isOpen() {
      return isOpen;
    },
    request<Result>(
      operation: string,
      command: string,
      timeoutMs: number,
      finish: (answer: Answer) => Result,
    ): Promise<Result> {
      if (!isOpen) return Promise.reject(unavailable(operation, 'the connection was closed'));
      if (queue.size >= PENDING_MAX) {
        return Promise.reject(unavailable(operation, `${PENDING_MAX} requests have no reply yet`));
      }
      message ??= openMessage(timeoutMs);
      const sentIn = message;
      sentIn.unansweredCount += 1;
      outgoing += command;
      return new Promise((resolve, reject) => {
        const settle: Pending['settle'] = (reply, error) => {
          if (reply === undefined) reject(error);
          else if (reply.status.endsWith('ERROR')) reject(replyError(operation, reply));
          else {
            try {
              resolve(finish({ reply, generation: sentIn.generation, connection }));
            } catch (unreadable) {
              reject(unreadable);
            }
          }
        };
        const one: Pending = { operation, message: sentIn, settle, letGo: undefined };
        if (timeoutMs !== sentIn.timeoutMs) {
          const { receivedBefore } = sentIn;
          one.letGo = times.after(timeoutMs, () => late(one, { timeoutMs, receivedBefore }));
        }
        queue.add(one);
        if (sentIn.unansweredCount === MESSAGE_SIZE_MAX) flush();
      });
    },
    close,
  };
  return connection;
}

type Late = Pick<Message, 'timeoutMs' | 'receivedBefore'>;

/** The reply to a request is there, or will not come. Who was told before that it is late, hears no more. */
function end(one: Pending, reply: MetaReply | undefined, error?: unknown): void {
  const { message, settle, letGo } = one;
  if (settle === undefined) return;
  letGo?.();
  message.unansweredCount -= 1;
  if (message.unansweredCount === 0) message.letGo();
  settle(reply, error);
}

/** Requests in the order in which they were sent: shifting a long array is slow. */
function pendingQueue() {
  let pending: Pending[] = [];
  let takenCount = 0;
  return {
    get size(): number {
      return pending.length - takenCount;
    },
    add(one: Pending): void {
      pending.push(one);
    },
    take(): Pending | undefined {
      const first = pending[takenCount];
      if (first === undefined) return undefined;
      takenCount += 1;
      if (takenCount === pending.length || takenCount >= 1_024) {
        pending = pending.slice(takenCount);
        takenCount = 0;
      }
      return first;
    },
    list: (): readonly Pending[] => pending.slice(takenCount),
    takeAll(): readonly Pending[] {
      const all = pending.slice(takenCount);
      pending = [];
      takenCount = 0;
      return all;
    },
  };
}
