import { type AbortSource, abortable, abortableBy, throwIfAborted } from '../../core/abort.js';
import {
  type PostgresPool,
  type PostgresPoolClient,
  type StatementResult,
  statementResults,
} from './client.js';

/** A client that was taken from the pool, and goes back there or is closed, exactly once. */
export interface Connection {
  readonly client: PostgresPoolClient;
  /** Whether the connection is known to be gone. */
  readonly isBroken: boolean;
  /**
   * Runs a text of one or several statements and answers their results. When the signal ends the
   * wait, the statement may still run: then the connection must be destroyed.
   */
  run(text: string, signal?: AbortSource): Promise<readonly StatementResult[]>;
  /** Gives it back to the pool. Only in a known state: idle, outside any transaction. */
  release(): void;
  /** Closes it; the server undoes what was open on it and not prepared. */
  destroy(): void;
}

/** Takes a client from the pool, for as long as the signal lets it wait; a late one goes back. */
export async function checkOut(pool: PostgresPool, signal: AbortSource): Promise<Connection> {
  throwIfAborted(signal);
  // Whatever was passed as a pool: what it answers is waited for like a promise.
  const arriving = Promise.resolve(pool.connect());
  try {
    return new ClientConnection(await abortable(arriving, signal));
  } catch (error) {
    arriving.then((late) => late.release()).catch(() => {});
    throw error;
  }
}

/** A class, because every branch has one. */
class ClientConnection implements Connection {
  readonly client: PostgresPoolClient;
  isBroken = false;
  #isTaken = true;
  // A client outside the pool that breaks without a listener would end the whole process.
  readonly #onError = (): void => {
    this.isBroken = true;
  };

  constructor(client: PostgresPoolClient) {
    this.client = client;
    client.on('error', this.#onError);
  }

  run(text: string, signal?: AbortSource): Promise<readonly StatementResult[]> {
    // What nobody waits for any longer is not sent: it might be a COMMIT.
    if (signal?.aborted) return Promise.reject(signal.reason);
    let answering: Promise<unknown>;
    try {
      answering = this.client.query(text);
    } catch (error) {
      return Promise.reject(error);
    }
    return abortableBy(answering, signal, statementResults);
  }

  release(): void {
    this.#giveBack(this.isBroken);
  }

  destroy(): void {
    this.#giveBack(true);
  }

  #giveBack(destroy: boolean): void {
    if (!this.#isTaken) return;
    this.#isTaken = false;
    this.client.removeListener('error', this.#onError);
    this.client.release(destroy);
  }
}
