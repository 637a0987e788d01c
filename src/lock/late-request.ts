import type { LockId } from '../core/ids.js';
import type { GrantRequest, LockMode } from './driver.js';
import { LateSignal } from './late-signal.js';
import type { Claim } from './waiting-room.js';

/** A request as the driver gets it, and how it is given up. Its signal is made when it is looked at. */
export class LateRequest implements GrantRequest {
  readonly resource: string;
  readonly owner: LockId;
  readonly mode: LockMode;
  readonly permits: number;
  readonly capacity: number;
  readonly ttlMs: number;
  readonly tokens: number;
  readonly wait: boolean;
  readonly lockDelayMs: number;
  #ending: LateSignal | undefined;

  constructor(resource: string, owner: LockId, claim: Claim, tokens: number) {
    this.resource = resource;
    this.owner = owner;
    this.mode = claim.mode;
    this.permits = claim.permits;
    this.capacity = claim.capacity;
    this.ttlMs = claim.ttlMs;
    this.tokens = tokens;
    this.wait = claim.wait;
    this.lockDelayMs = claim.lockDelayMs;
  }

  get signal(): AbortSignal {
    this.#ending ??= new LateSignal();
    return this.#ending.signal;
  }

  giveUp(reason: unknown): void {
    this.#ending ??= new LateSignal();
    this.#ending.abort(reason);
  }
}
