import { CoordinationError } from '../core/errors.js';
import type { LockId } from '../core/ids.js';
import { assertTtlMs } from '../core/validate.js';
import { downgrade } from './downgrade.js';
import type { LockMode } from './driver.js';
import { lockLostError } from './errors.js';
import type { AnyLease, SharedLease } from './leases.js';
import type { Tenure } from './tenure.js';

/**
 * One lease of a tenure, of whatever mode: what users get to see as `Lease`, `SharedLease` or
 * `CountingLease`. A class, because most acquires make one, and its accessors are dear in a literal.
 */
export class HeldLease implements AnyLease {
  readonly resource: string;
  readonly owner: LockId;
  readonly mode: LockMode;
  // Declared only: a lease of another mode has no such property at all.
  declare readonly fencingToken?: bigint;
  declare readonly permits?: number;
  declare readonly capacity?: number;
  #tenure: Tenure;
  #isOver = false;
  #releasing: Promise<'released' | 'lost'> | undefined;
  #reader: Promise<SharedLease> | undefined;

  constructor(tenure: Tenure, mode: LockMode = tenure.parts.claim.mode) {
    const { owner, claim, fencingToken, hold } = tenure.parts;
    this.#tenure = tenure;
    this.resource = hold.grant.resource;
    this.owner = owner;
    this.mode = mode;
    if (fencingToken !== undefined) this.fencingToken = fencingToken;
    if (claim.mode === 'counting') {
      this.permits = claim.permits;
      this.capacity = claim.capacity;
    }
  }

  get signal(): AbortSignal {
    // Whoever looks learns of a loss that no timer has told yet.
    void this.#tenure.isHeld;
    return this.#tenure.loss.signal;
  }

  get isHeld(): boolean {
    return !this.#isOver && this.#reader === undefined && this.#tenure.isHeld;
  }

  get remainingMs(): number {
    return this.isHeld ? this.#tenure.parts.hold.keptForMs : 0;
  }

  assertHeld(): void {
    if (!this.isHeld) throw this.#endedError();
  }

  async extend(ttlMs: number = this.#tenure.parts.hold.ttlMs): Promise<void> {
    assertTtlMs(ttlMs);
    this.assertHeld();
    const reply = await this.#tenure.parts.hold.extend(ttlMs);
    this.assertHeld();
    if (reply.state === 'held') return;
    throw new CoordinationError(
      'RESULT_UNKNOWN',
      `no reply came to the renewal of "${this.resource}"; its lease lasts for ${Math.round(this.remainingMs)} ms, whatever came of it`,
      { backend: this.#tenure.parts.context.backendName, operation: 'renew' },
      reply.state === 'unknown' ? { cause: reply.cause } : undefined,
    );
  }

  /** One more lease of the same tenure; a writer's also as a reader's. */
  again(mode: LockMode): HeldLease {
    this.#tenure.leaseCount += 1;
    return new HeldLease(this.#tenure, mode);
  }

  /** Aborts the signal, so that the work under it ends; it is held until it is released. */
  recall(reason: unknown): void {
    this.#tenure.loss.abort(reason);
  }

  /** Resolves at its release or loss. */
  over(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#tenure.state === 'ended') resolve();
      else this.#tenure.onEnd = resolve;
    });
  }

  /** Only an exclusive lease has it in its type. */
  async downgrade(): Promise<SharedLease> {
    if (this.#isOver) throw this.#endedError();
    this.#reader ??= downgrade(this.#tenure, (tenure) => {
      this.#tenure = tenure;
      return new HeldLease(tenure) as AnyLease as SharedLease;
    });
    try {
      return await this.#reader;
    } catch (error) {
      // Held as before, or to be asked again.
      this.#reader = undefined;
      throw error;
    }
  }

  release(): Promise<'released' | 'lost'> {
    if (this.#releasing === undefined) {
      const { release } = this.#tenure.parts.context.channels;
      this.#releasing = release.isListened
        ? release.trace(
            () => this.#operation(),
            () => this.#release(),
          )
        : this.#release();
    }
    return this.#releasing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  #release(): Promise<'released' | 'lost'> {
    if (this.#reader !== undefined) return this.#releaseReader(this.#reader);
    this.#isOver = true;
    this.#tenure.leaseCount -= 1;
    // Another lease of the same task goes on.
    if (this.#tenure.leaseCount > 0) {
      return Promise.resolve(this.#tenure.isHeld ? 'released' : 'lost');
    }
    const ending = this.#tenure.release();
    return typeof ending === 'string' ? Promise.resolve(ending) : ending;
  }

  /** Releasing what was made a reader's releases the reader. */
  async #releaseReader(reading: Promise<SharedLease>): Promise<'released' | 'lost'> {
    let reader: SharedLease;
    try {
      reader = await reading;
    } catch {
      this.#reader = undefined;
      return this.#release();
    }
    this.#isOver = true;
    return reader.release();
  }

  #operation() {
    const { resource, owner, mode, fencingToken } = this;
    const backend = this.#tenure.parts.context.backendName;
    return { resource, owner, mode, backend, fencingToken };
  }

  /** Why it is not held: the reason of its loss, or what was done to it. */
  #endedError(): unknown {
    const { ended } = this.#tenure.loss;
    if (ended !== undefined) return ended.reason;
    const why = this.#reader === undefined ? 'it was released before' : 'it was made a reader’s';
    return lockLostError(this.resource, this.fencingToken, why);
  }
}
