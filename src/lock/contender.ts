import { type LockId, lockId } from '../core/ids.js';
import type { LockContext } from './context.js';
import type { Grant } from './driver.js';
import { type Hold, hasEnded, holdGrant } from './hold.js';
import type { Lease } from './lock.js';
import {
  emptyQueue,
  isIdle,
  type NodeQueue,
  type QueueEffect,
  type QueueEvent,
  transition,
} from './node-queue.js';
import { type Claim, type WaitingRoom, waitingRoom } from './waiting-room.js';

/** One node's tasks that want one resource: carries out what the machine of node-queue.ts decides. */
export interface Contender {
  /** Waits for the resource; undefined only when the claim does not wait and it is taken. */
  claim(claim: Claim): Promise<Lease | undefined>;
  /** Sends away who waits and ends the lease, both with the reason; gives back what is held. */
  shut(reason: unknown): void;
}

interface Self {
  readonly context: LockContext;
  readonly resource: string;
  readonly owner: LockId;
  readonly queue: NodeQueue;
  readonly room: WaitingRoom;
  /** How to give up each request that is under way. */
  readonly requests: Map<number, AbortController>;
  /** Grants by the request that won them, until they are given back. */
  readonly holds: Map<number, Hold>;
  readonly events: QueueEvent[];
  isRunning: boolean;
  isLooking: boolean;
  /** Who held it when somebody last looked. */
  seenHolder: string | undefined;
  readonly onIdle: () => void;
}

/** A contender for one resource; `onIdle` is called whenever there is nothing to remember. */
export function contender(context: LockContext, resource: string, onIdle: () => void): Contender {
  const room = waitingRoom(resource, context, {
    onLeft: (task) => happen(self, { type: 'left', task }),
    onSoonLate: () => void lookAtHolder(self),
    holder: () => holderOf(self),
  });
  const self: Self = {
    context,
    resource,
    owner: lockId(resource, context.node.nodeId),
    queue: emptyQueue(),
    room,
    requests: new Map(),
    holds: new Map(),
    events: [],
    isRunning: false,
    isLooking: false,
    seenHolder: undefined,
    onIdle,
  };
  return {
    claim(claim) {
      const { id, outcome } = room.enter(claim);
      const isWaiting = room.claimOf(id) !== undefined;
      if (isWaiting) happen(self, { type: 'joined', task: { id, wait: claim.wait } });
      return outcome;
    },
    shut: (reason) => shut(self, reason),
  };
}

/** Feeds the machine, and does what it says. Events that happen meanwhile wait for their turn. */
function happen(self: Self, event: QueueEvent): void {
  // What is lost must not be handed on by an event that came before.
  if (event.type === 'lost') self.events.unshift(event);
  else self.events.push(event);
  if (self.isRunning) return;
  self.isRunning = true;
  try {
    for (let next = self.events.shift(); next !== undefined; next = self.events.shift()) {
      const nowMs = self.context.node.clock.monotonicMs();
      for (const effect of transition(self.queue, next, nowMs, self.context.limits))
        perform(self, effect);
    }
  } finally {
    self.isRunning = false;
  }
  if (isIdle(self.queue)) self.onIdle();
}

function perform(self: Self, effect: QueueEffect): void {
  switch (effect.type) {
    case 'ask':
      self.context.background(ask(self, effect));
      return;
    case 'give-up':
      self.requests.get(effect.request)?.abort(new DOMException('given up', 'AbortError'));
      return;
    case 'return':
    case 'release':
      giveBack(self, effect.type === 'return' ? effect.request : effect.grant);
      return;
    case 'start':
      start(self, effect);
      return;
    case 'refuse':
      self.room.refuse(effect.task);
      return;
    case 'fail':
      self.room.fail(effect.task, effect.error);
      return;
    case 'reserve':
      self.context.background(reserve(self, effect.grant, effect.tokens));
  }
}

async function ask(self: Self, effect: Extract<QueueEffect, { type: 'ask' }>): Promise<void> {
  const { request, task, tokens } = effect;
  const claim = self.room.claimOf(task.id);
  if (claim === undefined) {
    // It left while the machine decided.
    happen(self, { type: 'missed', request });
    return;
  }
  const giveUp = new AbortController();
  self.requests.set(request, giveUp);
  const { resource, owner, context } = self;
  const { ttlMs } = claim;
  let answer: QueueEvent;
  try {
    const grant = await context.backend.acquire({
      ...{ resource, owner, ttlMs, tokens, wait: task.wait, signal: giveUp.signal },
      ...{ mode: 'exclusive', permits: 1, capacity: 1 },
    });
    answer = grant === undefined ? busy(request, task.wait) : arrive(self, request, grant, ttlMs);
  } catch (error) {
    answer = { type: 'failed', request, error };
  }
  self.requests.delete(request);
  happen(self, answer);
}

function busy(request: number, waits: boolean): QueueEvent {
  if (!waits) return { type: 'busy', request };
  const error = new TypeError('the lock driver answered undefined to a request that waits');
  return { type: 'failed', request, error };
}

/** Takes a grant in; it is given back if the machine does not want it any more. */
function arrive(self: Self, request: number, grant: Grant, ttlMs: number): QueueEvent {
  const { context, owner } = self;
  if (hasEnded(context.node.clock, grant)) {
    context.background(context.backend.release(grant));
    return { type: 'missed', request };
  }
  const hold = holdGrant(context, owner, grant, ttlMs, {
    onFinished: (task) => happen(self, { type: 'finished', task }),
    onOthers: (count) => happen(self, { type: 'others', grant: request, count }),
    onLost() {
      self.holds.delete(request);
      happen(self, { type: 'lost', grant: request });
    },
  });
  self.holds.set(request, hold);
  const { fencingToken: first = 0n, tokens: count, waiters: othersCount } = grant;
  const tokens = { first, count };
  return { type: 'granted', request, tokens, othersCount, patienceMs: ttlMs / 2 };
}

function start(self: Self, effect: Extract<QueueEffect, { type: 'start' }>): void {
  const { task, grant, token, isHandedOver } = effect;
  const claim = self.room.claimOf(task);
  const hold = self.holds.get(grant);
  if (claim === undefined) {
    // It left while the machine decided.
    happen(self, { type: 'finished', task });
    return;
  }
  if (hold === undefined || !hold.isLasting()) {
    // The grant ended while it was handed on: the task stands in line again.
    happen(self, { type: 'joined', task: { id: task, wait: claim.wait } });
    return;
  }
  const waitedMs = self.room.waitedMs(task);
  self.room.admit(task, hold.begin(task, claim, token, isHandedOver), isHandedOver);
  if (!isHandedOver) return;
  const { resource, owner } = self;
  self.context.channels.handedOver.publish(() => ({
    ...{ resource, owner, fencingToken: token, waitedMs },
  }));
}

function giveBack(self: Self, grant: number): void {
  const hold = self.holds.get(grant);
  self.holds.delete(grant);
  if (hold !== undefined) self.context.background(hold.giveBack());
}

async function reserve(self: Self, grant: number, count: number): Promise<void> {
  const hold = self.holds.get(grant);
  if (hold === undefined) return;
  let first: bigint | undefined;
  try {
    first = await self.context.backend.reserveTokens(hold.grant, count);
  } catch {
    // Without tokens the lock is released and asked for anew, which needs none from here.
  }
  const tokens = first === undefined ? undefined : { first, count };
  happen(self, { type: 'reserved', grant, tokens });
}

async function lookAtHolder(self: Self): Promise<void> {
  if (self.isLooking || self.queue.held !== undefined) return;
  self.isLooking = true;
  try {
    const { holders } = await self.context.backend.inspect(self.resource);
    self.seenHolder = holders[0]?.owner;
  } catch {
    self.seenHolder = undefined;
  } finally {
    self.isLooking = false;
  }
}

function holderOf(self: Self): string | undefined {
  return self.queue.held === undefined ? self.seenHolder : self.owner;
}

function shut(self: Self, reason: unknown): void {
  self.room.dismiss(reason);
  const { held } = self.queue;
  if (held?.holder === undefined) return;
  self.holds.get(held.id)?.end(reason);
  happen(self, { type: 'finished', task: held.holder });
}
