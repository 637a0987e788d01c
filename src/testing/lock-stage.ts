import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { lockId } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import type {
  Grant,
  GrantRequest,
  LockBackend,
  LockDriver,
  LockMode,
  LockNode,
} from '../lock/driver.js';
import { lockNode } from '../lock/node.js';

/** One process's driver, as the subject of a contract opens it. */
export interface LockContender {
  /** The driver under test. */
  readonly driver: LockDriver;
  /**
   * Ends this process as a crash would: nothing is released or renewed any more, and what it holds
   * ends by itself. Not needed where a grant lasts no longer than its TTL without renewal.
   */
  crash?(): Promise<void>;
  /** Lets go of what was opened for it; called after `LockBackend.close`. */
  close?(): Promise<void>;
}

/** What `lockDriverContract` is run on. */
export interface LockDriverSubject {
  /** Opens the driver the way one more process would: with its own client, on the same backend. */
  open(): LockContender | Promise<LockContender>;
  /** Begins each resource's name, so that runs on one server do not meet. */
  readonly resourcePrefix: string;
  /**
   * The modes that the driver has, for one that refuses the others with BACKEND_UNSUPPORTED. Default
   * all of them.
   */
  readonly modes?: readonly LockMode[] | undefined;
  /** Adapts the cases to a slow backend. */
  readonly settings?: LockContractSettings | undefined;
}

/** What of the cases may be adapted to a backend. */
export interface LockContractSettings {
  /** The TTL that cases of expiry wait for, in milliseconds. Default 1,500. */
  readonly ttlMs?: number | undefined;
  /** The median hand-off to a waiter must be faster, in milliseconds. Default 200. */
  readonly handOffMsMax?: number | undefined;
  /** How many processes the storm opens. Default 16, with four tasks each. */
  readonly stormNodeCount?: number | undefined;
}

/** A contender with what the cases do with it. */
export interface StagedNode {
  readonly backend: LockBackend;
  readonly node: LockNode;
  readonly driver: LockDriver;
  request(resource: string, changes?: Partial<GrantRequest>): GrantRequest;
  /** Acquires, and fails the case when it is not granted in time. */
  acquire(resource: string, changes?: Partial<GrantRequest>): Promise<Grant>;
  /** Acquires what is free now, or answers undefined. */
  tryAcquire(resource: string, changes?: Partial<GrantRequest>): Promise<Grant | undefined>;
  crash(): Promise<void>;
}

/** Where one case plays: fresh nodes, a resource of its own, and everything let go at the end. */
export interface Stage {
  readonly settings: { readonly [Name in keyof LockContractSettings]-?: number };
  node(): Promise<StagedNode>;
  pair(): Promise<[StagedNode, StagedNode]>;
  trio(): Promise<[StagedNode, StagedNode, StagedNode]>;
  nodes(count: number): Promise<StagedNode[]>;
  /** This case's resource, or another one of its own. */
  resource(suffix?: string): string;
  /** Whether the subject itself ends a process that crashes, as a session backend needs. */
  readonly hasCrashVerb: boolean;
  /** Opens a driver alone, for cases that make a lock of it. */
  contender(): Promise<LockContender>;
  /** Does this when the case ends, before what was opened earlier is let go. */
  onEnd(cleanup: () => Promise<void>): void;
}

/** A sentence of the contract and how it is checked on a stage. */
export type StagedCase = readonly [
  name: string,
  play: (stage: Stage) => Promise<void>,
  /** Left out for a driver that refuses this mode. */
  needs?: LockMode,
];

/** The same cases, for drivers that have this mode. */
export function needing(mode: LockMode, cases: readonly StagedCase[]): readonly StagedCase[] {
  return cases.map(([name, play]) => [name, play, mode]);
}

/** Longest that anything without a TTL in it may take on a busy machine. */
export const PATIENCE_MS = 10_000;
const LONG_TTL_MS = 60_000;

/** Runs one case on a stage of its own and clears it away afterwards, also when the case fails. */
export async function onStage(
  subject: LockDriverSubject,
  play: (stage: Stage) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<void>)[] = [];
  const caseName = systemRandom.token(8);
  let hasCrashVerb = false;
  const contender = async (): Promise<LockContender> => {
    const opened = await subject.open();
    hasCrashVerb ||= opened.crash !== undefined;
    cleanups.push(async () => opened.close?.());
    return opened;
  };
  const node = async (): Promise<StagedNode> => {
    const opened = await contender();
    const staged = stagedNode(opened, cleanups.length);
    cleanups.push(() => staged.backend.close());
    return staged;
  };
  const nodes = (count: number) => Promise.all(Array.from({ length: count }, node));
  const { ttlMs = 1_500, handOffMsMax = 200, stormNodeCount = 16 } = subject.settings ?? {};
  const stage: Stage = {
    settings: { ttlMs, handOffMsMax, stormNodeCount },
    node,
    nodes,
    pair: async () => [await node(), await node()],
    trio: async () => [await node(), await node(), await node()],
    resource: (suffix = '') => `${subject.resourcePrefix}${caseName}${suffix}`,
    get hasCrashVerb() {
      return hasCrashVerb;
    },
    contender,
    onEnd: (cleanup) => void cleanups.push(cleanup),
  };
  try {
    await play(stage);
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

function stagedNode(contender: LockContender, number: number): StagedNode {
  const identity = { nodeId: `node-${number}`, clock: systemClock, random: systemRandom };
  const node = lockNode(identity);
  const backend = contender.driver.open(node);
  const request = (resource: string, changes?: Partial<GrantRequest>): GrantRequest => ({
    resource,
    owner: lockId(resource, node.nodeId),
    mode: 'exclusive',
    permits: 1,
    capacity: 1,
    ttlMs: LONG_TTL_MS,
    tokens: 1,
    wait: true,
    signal: new AbortController().signal,
    ...changes,
  });
  return {
    backend,
    node,
    driver: contender.driver,
    request,
    async acquire(resource, changes) {
      const asked = backend.acquire(request(resource, changes));
      const grant = await within(PATIENCE_MS, asked, `a grant of ${JSON.stringify(resource)}`);
      assert.ok(grant, 'a request that waits is never answered with undefined');
      return grant;
    },
    tryAcquire(resource, changes) {
      const asked = backend.acquire(request(resource, { ...changes, wait: false }));
      return within(PATIENCE_MS, asked, 'the answer to a request that does not wait');
    },
    crash: async () => contender.crash?.(),
  };
}

/** Somebody who stands in line; `asked` is wrapped, so that awaiting the place does not await the grant. */
export interface Place {
  readonly asked: Promise<Grant | undefined>;
  readonly leave: AbortController;
}

/** Asks, and returns once the backend shows the place, so that the order in line is known. */
export async function standInLine(
  node: StagedNode,
  resource: string,
  position: number,
  changes?: Partial<GrantRequest>,
): Promise<Place> {
  const leave = new AbortController();
  const request = node.request(resource, { ...changes, signal: leave.signal });
  const asked = node.backend.acquire(request);
  asked.catch(() => {});
  await inLine(node, resource, position);
  return { asked, leave };
}

/** The grant of who stands in line, or a failure when it does not come. */
export async function granted(place: Place): Promise<Grant> {
  const grant = await within(PATIENCE_MS, place.asked, 'the grant of who stands in line');
  assert.ok(grant, 'a request that waits is never answered with undefined');
  return grant;
}

/** The promise's value, or a failure that names what did not come. */
export async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let cancel = (): void => {};
  const late = new Promise<never>((_, reject) => {
    const fail = () => reject(new assert.AssertionError({ message: `${what} took over ${ms} ms` }));
    cancel = systemClock.schedule(ms, fail);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}

/** Asks again and again, quickly, until the condition holds; fails the case after `PATIENCE_MS`. */
export async function eventually(
  what: string,
  condition: () => Promise<boolean>,
  patienceMs: number = PATIENCE_MS,
): Promise<void> {
  const untilMs = systemClock.monotonicMs() + patienceMs;
  while (!(await condition())) {
    assert.ok(systemClock.monotonicMs() < untilMs, `${what}: not within ${patienceMs} ms`);
    await sleep(systemClock, 5);
  }
}

/** Waits until so many stand in line, as the backend itself tells. */
export function inLine(observer: StagedNode, resource: string, count: number): Promise<void> {
  return eventually(`${count} in line for ${resource}`, async () => {
    const { waiters } = await observer.backend.inspect(resource);
    return waiters.length === count;
  });
}
