import { seededRandom } from '../core/random.js';
import { assertNumber, invalidArgument } from '../core/validate.js';
import { createTransactionCoordinator } from '../transaction/create-coordinator.js';
import type { Participant } from '../transaction/participant.js';
import type { OpenedDecisionLog } from './decision-log-stage.js';
import { grounds } from './explore-crashes-grounds.js';
import type {
  CrashableParticipant,
  CrashExploration,
  CrashExplorationOptions,
  CrashViolation,
  ExploredParticipant,
} from './explore-crashes-options.js';
import { type Played, type PlaySubject, play } from './explore-crashes-play.js';
import {
  type CrashPoint,
  ownerPoints,
  parsePointName,
  pointName,
  recovererPoints,
} from './explore-crashes-points.js';
import type { OpenedProcess } from './explore-crashes-process.js';

const PLAY_TIMEOUT_MS = 30_000;
const PARTICIPANTS_MAX = 8;
const CONCURRENCY_MAX = 32;

/**
 * Explores every point at which a process of a transaction can die, on the participants and the log
 * that you pass: your own ones, on real servers, if you like.
 *
 * The transaction is played once without a fault, which tells its calls to the log, the participants
 * and the branches. Then it is played once for each call and each fault there: the owner's process
 * dies before the call arrives (`crash-before`), dies after it was done (`crash-after`), loses the
 * reply and goes on (`reply-lost`), or stands still before or after it (`pause-before`,
 * `pause-after`) and wakes when another process, which took it for dead, has recovered. For each
 * point that leaves something to recover, the recovering process is in turn made to fail at each of
 * its own calls. A transaction that rolls back is explored in the same way.
 *
 * After each play a last process recovers, and these rules are checked: **atomicity** (all
 * participants show the effect or none), **validity** (what was to be rolled back is not there; what
 * met no fault is), **stability** (an effect that was seen stays), **no false success** and **no
 * false abort** (what the caller was told is so), **termination** (everything ends, recovery has
 * nothing more to find, and repeating it changes nothing) and **residue** (nothing prepared, no open
 * record, nothing kept from its pool, and the next transaction commits).
 *
 * Death is simulated: calls of a dead process no longer arrive and it hears nothing, and `crash` of
 * what it opened cuts its connections. Whether the log takes a process for dead in time is not
 * explored (the suspicion is the explorer's own); `decisionLogContract` looks at that.
 *
 * Resolves with what was found, also when rules were broken: look at `violations`. Rejects when the
 * transaction cannot be played without a fault, or what was passed is ill-formed (TypeError,
 * INVALID_ARGUMENT). The method is that of ALICE (Pillai et al., "All File Systems Are Not Created
 * Equal", 2014), with calls in place of disk writes.
 */
export async function exploreCrashes<Handles = Readonly<Record<string, unknown>>>(
  options: CrashExplorationOptions<Handles>,
): Promise<CrashExploration> {
  checkOptions(options);
  const { print = () => {}, only, coordinator = createTransactionCoordinator } = options;
  const ground = grounds(() => open(options));
  const subject: PlaySubject = {
    grounds: ground,
    body: (tx, turn) => options.body(tx, turn as unknown as Parameters<typeof options.body>[1]),
    check: (turn) => options.check(turn),
    arrange: (turn) => options.arrange?.(turn),
    coordinator: (made) => coordinator(made),
    playTimeoutMs: options.playTimeoutMs ?? PLAY_TIMEOUT_MS,
  };
  const ledger = ledgerOf(print);
  try {
    if (only === undefined) await exploreAll(subject, ledger, options);
    else ledger.note(await play(subject, pointOf(only)));
  } finally {
    await ground.close();
  }
  const exploration = ledger.close();
  const { pointCount, violations } = exploration;
  print(`explored ${pointCount} points: ${violations.length} violations`);
  return exploration;
}

async function exploreAll(
  subject: PlaySubject,
  ledger: Ledger,
  options: Pick<CrashExplorationOptions, 'pairsMax' | 'seed' | 'concurrency'>,
): Promise<void> {
  const { pairsMax = Number.POSITIVE_INFINITY, seed = 1, concurrency = 1 } = options;
  const pairs: CrashPoint[] = [];
  for (const ending of ['commit', 'abort'] as const) {
    const plain = await play(subject, { ending });
    ledger.note(plain);
    if (plain.broken.length > 0) throw cannotPlay(plain);
    await inParallel(ownerPoints(ending, plain.ownerSteps), concurrency, async (point) => {
      const played = await play(subject, point);
      ledger.note(played);
      const isDeath = point.owner?.kind.startsWith('crash') === true;
      if (isDeath) pairs.push(...recovererPoints(point, played.recovererSteps));
    });
  }
  // In an order of their own, whatever the order in which the plays ended.
  pairs.sort((one, other) => (pointName(one) < pointName(other) ? -1 : 1));
  await inParallel(sample(pairs, pairsMax, seed), concurrency, async (point) => {
    ledger.note(await play(subject, point));
  });
}

function cannotPlay({ broken, trace }: Played): Error {
  return new Error(
    `the transaction cannot be played without a fault: ${broken.join('; ')}\n${trace.join('\n')}`,
  );
}

function sample<Item>(items: readonly Item[], count: number, seed: number): readonly Item[] {
  if (items.length <= count) return items;
  const random = seededRandom(seed);
  return items
    .map((item) => [random.fraction(), item] as const)
    .sort(([one], [other]) => one - other)
    .slice(0, count)
    .map(([, item]) => item);
}

async function inParallel<Item>(
  items: readonly Item[],
  concurrency: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** Collects what plays found. */
interface Ledger {
  note(played: Played): void;
  close(): CrashExploration;
}

function ledgerOf(print: (line: string) => void): Ledger {
  const points: string[] = [];
  const violations: CrashViolation[] = [];
  let committed = 0;
  return {
    note({ point, broken, trace, isCommitted }) {
      points.push(point);
      if (isCommitted) committed += 1;
      for (const what of broken) {
        violations.push({ point, what, trace });
        print(`VIOLATED ${what}\n  at: ${point}\n  ${trace.join('\n  ')}`);
      }
    },
    close: () => ({
      pointCount: points.length,
      points: points.sort(),
      endings: { committed, aborted: points.length - committed },
      violations,
    }),
  };
}

async function open<Handles>({
  log,
  participants,
}: CrashExplorationOptions<Handles>): Promise<OpenedProcess> {
  const openedLog: OpenedDecisionLog = typeof log === 'function' ? await log() : { log };
  const opened = new Map<string, CrashableParticipant>();
  const owned: Participant[] = [];
  for (const [name, each] of named(participants)) {
    const isOwn = typeof each === 'function';
    const one = isOwn ? await each() : { participant: each };
    opened.set(name, one);
    // What is shared by all processes is closed by whoever made it.
    if (isOwn) owned.push(one.participant);
  }
  return { log: openedLog, participants: opened, owned };
}

function named<Handles>(
  participants: CrashExplorationOptions<Handles>['participants'],
): readonly (readonly [string, ExploredParticipant])[] {
  if (Array.isArray(participants)) {
    return participants.map((each: Participant) => [each.name, each] as const);
  }
  return Object.entries<ExploredParticipant>(
    participants as Readonly<Record<string, ExploredParticipant>>,
  );
}

function pointOf(name: string): CrashPoint {
  const point = parsePointName(name);
  if (point === undefined) {
    throw invalidArgument('only', name, 'the name of a point, as a violation tells it');
  }
  return point;
}

function checkOptions<Handles>(options: CrashExplorationOptions<Handles>): void {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, '{ log, participants, body, check }');
  }
  const { log, participants, body, check } = options;
  if (typeof log !== 'function' && typeof log?.open !== 'function') {
    throw invalidArgument('log', log, 'a decision log, or a function that opens one');
  }
  const all = typeof participants === 'object' && participants !== null ? named(participants) : [];
  const isUsable = all.every(([, each]) => typeof each === 'function' || isParticipant(each));
  if (all.length < 1 || all.length > PARTICIPANTS_MAX || !isUsable) {
    const remedy = `1 to ${PARTICIPANTS_MAX} participants, or functions that open them, by name`;
    throw invalidArgument('participants', participants, remedy);
  }
  if (typeof body !== 'function') throw invalidArgument('body', body, 'a function');
  if (typeof check !== 'function') throw invalidArgument('check', check, 'a function');
  const { pairsMax = 0, concurrency = 1, playTimeoutMs = PLAY_TIMEOUT_MS, seed = 1 } = options;
  assertNumber('pairsMax', pairsMax, { min: 0, max: Number.POSITIVE_INFINITY });
  assertNumber('concurrency', concurrency, { min: 1, max: CONCURRENCY_MAX, integer: true });
  assertNumber('playTimeoutMs', playTimeoutMs, { min: 1 });
  assertNumber('seed', seed, { min: 0, integer: true });
  if (options.only !== undefined) pointOf(options.only);
}

const isParticipant = (value: Participant | undefined): boolean =>
  typeof value?.enlist === 'function';
