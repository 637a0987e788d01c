import { onAbort } from '../core/abort.js';
import { invalidArgument } from '../core/validate.js';
import { LateSignal } from './late-signal.js';
import type { HeldLease } from './lease.js';
import type { LeaseSet } from './leases.js';

/** Leases that were taken together, of whatever mode: what users get to see as a `LeaseSet`. */
export class HeldSet implements LeaseSet<HeldLease> {
  readonly resources: readonly string[];
  readonly leases: readonly HeldLease[];
  readonly #loss = new LateSignal();
  #isListening = false;
  #releasing: Promise<'released' | 'lost'> | undefined;

  constructor(leases: readonly HeldLease[]) {
    this.leases = leases;
    this.resources = leases.map((lease) => lease.resource);
  }

  get signal(): AbortSignal {
    const { signal } = this.#loss;
    if (!this.#isListening) {
      this.#isListening = true;
      for (const { signal: each } of this.leases) {
        onAbort(each, () => this.#loss.abort(each.reason));
      }
    }
    // Whoever looks learns of a loss that no timer has told yet.
    void this.isHeld;
    return signal;
  }

  get isHeld(): boolean {
    return this.leases.every((lease) => lease.isHeld);
  }

  get remainingMs(): number {
    return Math.min(...this.leases.map((lease) => lease.remainingMs));
  }

  get(resourceId: string): HeldLease {
    const found = this.leases.find((lease) => lease.resource === resourceId);
    if (found !== undefined) return found;
    throw invalidArgument('resourceId', resourceId, 'one of the resources that were taken');
  }

  assertHeld(): void {
    for (const lease of this.leases) lease.assertHeld();
  }

  async extend(ttlMs?: number): Promise<void> {
    const endings = await Promise.allSettled(this.leases.map((lease) => lease.extend(ttlMs)));
    const failed = endings.find((ending) => ending.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  release(): Promise<'released' | 'lost'> {
    this.#releasing ??= releaseAll(this.leases);
    return this.#releasing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Releases leases, all at the same time; `lost` when any of them had ended before. */
export async function releaseAll(leases: readonly HeldLease[]): Promise<'released' | 'lost'> {
  const endings = await Promise.all(leases.map((lease) => lease.release()));
  return endings.includes('lost') ? 'lost' : 'released';
}
