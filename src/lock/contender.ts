import { setImmediate } from 'node:timers';
import { type Instant, instantOf } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import { FewMap } from '../core/few-map.js';
import { type LockId, lockId } from '../core/ids.js';
import type { LockContext } from './context.js';
import type { Grant } from './driver.js';
import { Hold, type HoldListeners, hasEnded } from './hold.js';
import { LateRequest } from './late-request.js';
import { HeldLease } from './lease.js';
import type { QueuedTask } from './node-grants.js';
import { emptyQueue, finishKept, isIdle, keptGrant, takeKept, transition } from './node-queue.js';
import type { QueueEffect, QueueEvent } from './queue-events.js';
import { Tenure } from './tenure.js';
import { type Claim, type RoomListeners, WaitingRoom } from './waiting-room.js';

/**
 * One node's tasks that want one resource: carries out what the machine of node-queue.ts decides. A
 * class, because one is made for most acquires.
 */
export class Contender implements HoldListeners, RoomListeners {
  readonly resource: string;
  readonly #context: LockContext;
  readonly #owner: LockId;
  readonly #queue = emptyQueue();
  readonly #room: WaitingRoom;
  readonly #requests = new FewMap<number, LateRequest>();
  /** Grants by the request that won them, until they are given back. */
  readonly #holds = new FewMap<number, Hold>();
  readonly #events: QueueEvent[] = [];
  readonly #onIdle: (contender: Contender) => void;
  /** Nothing is kept of it but this. Set by its office. */
  isResting = false;
  #mayRetain = true;
  #isRunning = false;
  #isLooking = false;
  /** Who held it when somebody last looked. */
  #seenHolder: string | undefined;

  /** `onIdle` is called whenever there is nothing to remember. */
  constructor(context: LockContext, resource: string, onIdle: (contender: Contender) => void) {
    this.#context = context;
    this.resource = resource;
    this.#owner = lockId(resource, context.node.nodeId);
    this.#room = new WaitingRoom(resource, context, this);
    this.#onIdle = onIdle;
  }

  /** Waits for the resource; undefined only when the claim does not wait and it is taken. */
  claim(claim: Claim): Promise<HeldLease | undefined> {
    const lease = this.#takeKept(claim);
    if (lease !== undefined) return Promise.resolve(lease);
    return this.#room.enter(claim, (id, now) =>
      this.#happen({ type: 'joined', task: queuedTask(id, claim) }, now),
    );
  }

  /** Whether nobody here wants, asks for or holds it, or it is kept for the next one. */
  get isFreeHere(): boolean {
    if (this.#queue.waiting.size > 0 || this.#queue.requests.size > 0) return false;
    for (const grant of this.#queue.grants.values()) if (!grant.isRetained) return false;
    return true;
  }

  /** Whether nothing of it is kept here. */
  get isIdle(): boolean {
    return isIdle(this.#queue);
  }

  /** Gives up what is retained, and retains nothing any more. */
  stopRetaining(): void {
    this.#mayRetain = false;
    for (const grant of Array.from(this.#queue.grants.keys())) this.onRetained(grant);
  }

  /** Sends away who waits and ends the leases, both with the reason; gives back what is held. */
  shut(reason: unknown): void {
    this.stopRetaining();
    this.#room.dismiss(reason);
    for (const { id, holders } of Array.from(this.#queue.grants.values())) {
      this.#holds.get(id)?.end(reason);
      for (const task of Array.from(holders.keys()))
        this.#happen({ type: 'finished', grant: id, task });
    }
  }

  onLeft(task: number): void {
    this.#happen({ type: 'left', task });
  }

  onSoonLate(): void {
    void this.#lookAtHolder();
  }

  holder(): string | undefined {
    return this.#queue.grants.size === 0 ? this.#seenHolder : this.#owner;
  }

  onFinished(grant: number, task: number, now: Instant): void {
    const kept = this.#mayKeep ? finishKept(this.#queue, grant, task) : undefined;
    if (kept === undefined) this.#happen({ type: 'finished', grant, task }, now);
    else if (kept.retainMs > 0) this.#retain(grant, kept.retainMs, now.monotonicMs);
    else this.#holds.get(grant)?.linger(false);
  }

  onOthers(grant: number, count: number): void {
    this.#happen({ type: 'others', grant, count });
  }

  onDowngraded(grant: number, epoch: bigint, sharesTtlMs: number | undefined): void {
    this.#happen({ type: 'downgraded', grant, epoch, sharesTtlMs });
  }

  onRetained(grant: number): void {
    this.#happen({ type: 'retained', grant });
  }

  onLost(grant: number): void {
    this.#holds.delete(grant);
    this.#happen({ type: 'lost', grant });
  }

  /** Whether nothing is to be done first, and something may be kept. */
  get #mayKeep(): boolean {
    return this.#mayRetain && !this.#isRunning;
  }

  /** What is kept here goes to who comes without a way through the line. */
  #takeKept(claim: Claim): HeldLease | undefined {
    const kept = this.#mayKeep ? keptGrant(this.#queue) : undefined;
    if (kept === undefined) return undefined;
    const context = this.#context;
    const now = instantOf(context.node.clock);
    const hold = this.#holds.get(kept.id);
    // One that ended is out of the queue by then.
    if (hold === undefined || !hold.isLastingAt(now)) return undefined;
    const task = this.#room.nextId();
    const fencingToken = takeKept(this.#queue, queuedTask(task, claim));
    if (fencingToken === undefined) return undefined;
    const parts = { context, hold, owner: this.#owner, task, claim, fencingToken };
    const tenure = new Tenure(parts, now.monotonicMs);
    hold.admit(tenure, claim, true, now);
    context.recorder.taken(claim.mode);
    this.#tellHandedOver(claim, fencingToken, 0);
    return new HeldLease(tenure);
  }

  /** Feeds the machine, and does what it says. Events that happen meanwhile wait for their turn. */
  #happen(event: QueueEvent, now?: Instant): void {
    const events = this.#events;
    if (this.#isRunning) {
      // What is lost must not be handed on by an event that came before.
      if (event.type === 'lost') events.unshift(event);
      else events.push(event);
      return;
    }
    this.#isRunning = true;
    const { clock } = this.#context.node;
    try {
      this.#step(event, now ?? instantOf(clock));
      while (events.length > 0) {
        const next = events.shift();
        if (next !== undefined) this.#step(next, instantOf(clock));
      }
    } finally {
      this.#isRunning = false;
    }
    if (isIdle(this.#queue)) this.#onIdle(this);
  }

  #step(event: QueueEvent, now: Instant): void {
    const { limits } = this.#context;
    const effects = transition(this.#queue, event, now.monotonicMs, limits);
    for (const effect of effects) this.#perform(effect, now);
  }

  #perform(effect: QueueEffect, now: Instant): void {
    switch (effect.type) {
      case 'ask':
        this.#ask(effect);
        return;
      case 'give-up':
        this.#requests.get(effect.request)?.giveUp(new DOMException('given up', 'AbortError'));
        return;
      case 'return':
      case 'release':
        this.#giveBack(effect.type === 'return' ? effect.request : effect.grant, now);
        return;
      case 'start':
        this.#start(effect, now);
        return;
      case 'retain':
      case 'linger':
        this.#keep(effect, now.monotonicMs);
        return;
      case 'refuse':
        this.#room.refuse(effect.task);
        return;
      case 'fail':
        this.#room.fail(effect.task, effect.error);
        return;
      case 'reserve':
        void this.#reserve(effect.grant, effect.tokens);
    }
  }

  #ask({ request: id, task, tokens }: Extract<QueueEffect, { type: 'ask' }>): void {
    const claim = this.#room.claimOf(task.id);
    if (claim === undefined) {
      // It left while the machine decided.
      this.#happen({ type: 'missed', request: id });
      return;
    }
    const { backend, work, node } = this.#context;
    const asked = new LateRequest(this.resource, this.#owner, claim, tokens);
    this.#requests.set(id, asked);
    const answer = (event: QueueEvent, now?: Instant): void => {
      this.#requests.delete(id);
      this.#happen(event, now);
      work.end();
    };
    work.begin();
    const asking = claim.ask === undefined ? backend.acquire(asked) : claim.ask(asked);
    asking.then(
      (grant) => {
        const now = instantOf(node.clock);
        answer(this.#arrive(id, grant, claim, now), now);
      },
      (error) => answer(failure(id, error)),
    );
  }

  /** Takes a grant in; it is given back if the machine does not want it any more. */
  #arrive(id: number, grant: Grant | undefined, { wait, ttlMs }: Claim, now: Instant): QueueEvent {
    if (grant === undefined) {
      if (!wait) return { type: 'busy', request: id };
      return failure(
        id,
        new TypeError('the lock driver answered undefined to a request that waits'),
      );
    }
    const { work, backend } = this.#context;
    if (hasEnded(grant, now)) {
      work.follow(backend.release(grant));
      return { type: 'missed', request: id };
    }
    this.#holds.set(id, new Hold(this.#context, id, grant, ttlMs, this));
    const { fencingToken: first, tokens: count, waiters: othersCount } = grant;
    const tokens = first === undefined ? undefined : { first, count };
    return { type: 'granted', request: id, tokens, othersCount, patienceMs: ttlMs / 2 };
  }

  #start(
    { task, grant, token, isHandedOver }: Extract<QueueEffect, { type: 'start' }>,
    now: Instant,
  ): void {
    const claim = this.#room.claimOf(task);
    const hold = this.#holds.get(grant);
    if (claim === undefined) {
      // It left while the machine decided.
      this.#happen({ type: 'finished', grant, task });
      return;
    }
    // What was just won was looked at as it came.
    if (hold === undefined || (isHandedOver && !hold.isLastingAt(now))) {
      // The grant ended while it was handed on: the task stands in line again.
      this.#happen({ type: 'rejoined', task: queuedTask(task, claim) });
      return;
    }
    const context = this.#context;
    const parts = { context, hold, owner: this.#owner, task, claim, fencingToken: token };
    const tenure = new Tenure(parts, now.monotonicMs);
    hold.admit(tenure, claim, isHandedOver, now);
    const waitedMs = this.#room.admit(task, new HeldLease(tenure), isHandedOver, now.monotonicMs);
    if (isHandedOver) this.#tellHandedOver(claim, token, waitedMs);
  }

  #tellHandedOver({ mode }: Claim, fencingToken: bigint | undefined, waitedMs: number): void {
    const { handedOver } = this.#context.channels;
    const { resource } = this;
    handedOver.publish(() => ({ resource, owner: this.#owner, mode, fencingToken, waitedMs }));
  }

  #giveBack(grant: number, now: Instant): void {
    const hold = this.#holds.get(grant);
    this.#holds.delete(grant);
    void hold?.giveBack(now);
  }

  /** Nobody holds it, and it is kept for who comes next. */
  #keep(effect: Extract<QueueEffect, { type: 'retain' | 'linger' }>, nowMs: number): void {
    const { grant } = effect;
    if (!this.#mayRetain) this.#happen({ type: 'retained', grant });
    else if (effect.type === 'retain') this.#retain(grant, effect.retainMs, nowMs);
    else {
      this.#holds.get(grant)?.linger(effect.begins);
      if (effect.begins) setImmediate(() => this.#happen({ type: 'lingered', grant }));
    }
  }

  #retain(grant: number, retainMs: number, nowMs: number): void {
    this.#holds.get(grant)?.retain(retainMs, nowMs);
    const { resource } = this;
    this.#context.channels.retained.publish(() => ({ resource, owner: this.#owner, retainMs }));
  }

  async #reserve(grant: number, count: number): Promise<void> {
    const hold = this.#holds.get(grant);
    if (hold === undefined) return;
    const { work, backend } = this.#context;
    let first: bigint | undefined;
    work.begin();
    try {
      first = await backend.reserveTokens(hold.grant, count);
    } catch {
      // Without tokens the lock is released and asked for anew, which needs none from here.
    }
    const tokens = first === undefined ? undefined : { first, count };
    this.#happen({ type: 'reserved', grant, tokens });
    work.end();
  }

  async #lookAtHolder(): Promise<void> {
    if (this.#isLooking || this.#queue.grants.size > 0) return;
    this.#isLooking = true;
    try {
      const { holders } = await this.#context.backend.inspect(this.resource);
      this.#seenHolder = holders[0]?.owner;
    } catch {
      this.#seenHolder = undefined;
    } finally {
      this.#isLooking = false;
    }
  }
}

function queuedTask(id: number, claim: Claim): QueuedTask {
  const { wait, mode, permits, capacity, lockDelayMs, retainMs, renew, maxHoldMs, ttlMs } = claim;
  const isShareable = mode === 'shared' && renew && maxHoldMs === undefined;
  const sharesTtlMs = isShareable ? ttlMs : undefined;
  return { id, wait, mode, permits, capacity, lockDelayMs, retainMs, sharesTtlMs };
}

/** A request that failed; a resource used in another way concerns those alone who ask in that way. */
function failure(request: number, error: unknown): QueueEvent {
  const isOfKind = isCoordinationError(error, 'LOCK_CAPACITY_MISMATCH');
  return { type: 'failed', request, error, scope: isOfKind ? 'kind' : 'all' };
}
