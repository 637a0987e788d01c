import { instantOf } from '../core/clock.js';
import type { LockId } from '../core/ids.js';
import type { LockContext } from './context.js';
import { lockLostError } from './errors.js';
import type { Hold } from './hold.js';
import { LateSignal } from './late-signal.js';
import type { Claim } from './waiting-room.js';

/** What a tenure is made of. */
export interface TenureParts {
  readonly context: LockContext;
  readonly hold: Hold;
  readonly owner: LockId;
  readonly task: number;
  readonly claim: Claim;
  /** Its own, or the epoch of readers; undefined when counting. */
  readonly fencingToken: bigint | undefined;
}

/**
 * A task's use of a grant, from the moment it has it to its release or loss. Several leases of one
 * task may stand for it: a `reentrant` one is a further lease of the same tenure.
 */
export class Tenure {
  readonly parts: TenureParts;
  /** Leases of it that were not released. */
  leaseCount = 1;
  /** `yielding`: it is being made a reader's, and may be one by now. */
  state: 'held' | 'yielding' | 'ended' = 'held';
  /** Called once, at its release or loss. */
  onEnd: (() => void) | undefined;
  #loss: LateSignal | undefined;
  readonly #sinceMs: number;

  /** Begins now; `before` is the writer's tenure that it carries on. */
  constructor(parts: TenureParts, nowMs: number, before?: Tenure) {
    this.parts = parts;
    this.#loss = before?.loss;
    this.#sinceMs = before === undefined ? nowMs : before.#sinceMs;
  }

  /** How it is told that it was lost. */
  get loss(): LateSignal {
    this.#loss ??= new LateSignal();
    return this.#loss;
  }

  get isHeld(): boolean {
    return this.state === 'held' && this.parts.hold.isLasting;
  }

  /** Ends it without a release. Does nothing when it has ended. */
  lose(reason: unknown): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    this.#publishLoss(reason, this.#heldMs());
    this.onEnd?.();
  }

  /** Ends it, and hands the grant on or back. `lost` when it had ended before. */
  release(): 'released' | 'lost' | Promise<'released' | 'lost'> {
    const { hold, task, context } = this.parts;
    if (this.state === 'ended') return 'lost';
    const now = instantOf(context.node.clock);
    if (!hold.isLastingAt(now)) return 'lost';
    const heldMs = now.monotonicMs - this.#sinceMs;
    // What may be a reader's grant by now is nobody's to hand on as a writer's.
    const isAmbiguous = this.state === 'yielding';
    this.state = 'ended';
    const ending = isAmbiguous ? hold.abandon(this) : hold.finish(this, task, now);
    this.onEnd?.();
    if (typeof ending === 'string') return this.#released(ending, heldMs);
    return ending.then((known) => this.#released(known, heldMs));
  }

  #released(ending: 'released' | 'lost', heldMs: number): 'released' | 'lost' {
    const { context, claim } = this.parts;
    if (ending === 'lost') {
      const { resource } = this.parts.hold.grant;
      const { fencingToken } = this.parts;
      const reason = lockLostError(resource, fencingToken, 'the backend had ended it');
      this.#publishLoss(reason, heldMs);
      return ending;
    }
    context.recorder.ended(claim.mode, 'released', heldMs);
    context.channels.released.publish(() => this.#facts(heldMs));
    return ending;
  }

  #publishLoss(reason: unknown, heldMs: number): void {
    const { context, claim } = this.parts;
    context.recorder.ended(claim.mode, 'lost', heldMs);
    this.loss.abort(reason);
    context.channels.lost.publish(() => ({ ...this.#facts(heldMs), reason }));
  }

  #heldMs(): number {
    return this.parts.context.node.clock.monotonicMs() - this.#sinceMs;
  }

  #facts(heldMs: number) {
    const { owner, fencingToken, hold, claim } = this.parts;
    const { resource } = hold.grant;
    return { resource, owner, mode: claim.mode, fencingToken, heldMs };
  }
}
