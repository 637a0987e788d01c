import type { Model } from '../transaction/explore.js';

/**
 * The head of an incarnation, its owner with several versioned writes in flight, and a recoverer that
 * fences. Each write carries all decisions before it and expects the version that the one before it
 * makes: what a fence in between makes of that is the question.
 */
export interface PipelineOptions {
  /** So many writes of the owner may be in flight. */
  readonly inFlightMax: number;
  /** So many versioned writes of the recoverer, one after the other, make a fence. */
  readonly fenceWrites: number;
  /** So many writes of its own, one after the other, the owner makes after a lost connection. */
  readonly leapWrites: number;
  readonly decisions: number;
  readonly lossesMax: number;
}

interface Write {
  readonly expects: number;
  readonly decisions: readonly number[];
}

interface World {
  readonly head: {
    readonly version: number;
    readonly decisions: readonly number[];
    readonly isFenced: boolean;
  };
  readonly owner: {
    readonly mode: 'deciding' | 'draining' | 'reading' | 'leaping' | 'over';
    readonly version: number;
    readonly known: readonly number[];
    readonly next: number;
    readonly leaps: number;
    readonly flight: readonly Write[];
  };
  /** Nobody waits for them any more; they may arrive. */
  readonly ghosts: readonly Write[];
  readonly told: readonly number[];
  readonly recoverer: {
    readonly version: number;
    readonly seen: readonly number[];
    readonly writes: number;
    readonly isReading: boolean;
    readonly concluded: readonly number[] | null;
  };
  readonly losses: number;
}

type Step = readonly [string, World];

export function pipelineModel(options: PipelineOptions): Model<World> {
  return {
    start: {
      head: { version: 0, decisions: [], isFenced: false },
      owner: { mode: 'deciding', version: 0, known: [], next: 1, leaps: 0, flight: [] },
      ghosts: [],
      told: [],
      recoverer: { version: 0, seen: [], writes: 0, isReading: true, concluded: null },
      losses: 0,
    },
    steps: (world) => [
      ...ownerSteps(world, options),
      ...ghostSteps(world),
      ...recovererSteps(world, options),
    ],
    violation,
    isSettled: () => true,
  };
}

function violation({ head, told, recoverer: { concluded } }: World): string | undefined {
  const vanished = told.find((decision) => !head.decisions.includes(decision));
  if (vanished !== undefined) return `decision ${vanished} was answered, and is gone`;
  if (concluded === null) return undefined;
  const late = head.decisions.find((decision) => !concluded.includes(decision));
  return late === undefined ? undefined : `decision ${late} was recorded after the fence`;
}

/** The server applies a write, or refuses it by its version. */
function applied(world: World, write: Write): World | undefined {
  const { version } = world.head;
  if (write.expects !== version) return undefined;
  const { decisions } = write;
  return { ...world, head: { version: version + 1, decisions, isFenced: false } };
}

function ownerSteps(world: World, options: PipelineOptions): readonly Step[] {
  const { owner, losses } = world;
  const steps: Step[] = [];
  const mayDecide = owner.mode === 'deciding' && owner.next <= options.decisions;
  if (mayDecide && owner.flight.length < options.inFlightMax) {
    const before = owner.flight.at(-1)?.decisions ?? owner.known;
    const expects = owner.version + owner.flight.length;
    const flight = [...owner.flight, { expects, decisions: [...before, owner.next] }];
    const sent = { ...owner, flight, next: owner.next + 1 };
    steps.push([`owner sends ${owner.next}`, { ...world, owner: sent }]);
  }
  const [first, ...rest] = owner.flight;
  if (first !== undefined) {
    const after = applied(world, first);
    steps.push(['owner hears', heard(world, after, first, rest)]);
    if (losses < options.lossesMax) {
      const lost = { ...owner, flight: [], mode: 'reading' as const };
      const cut = (from: World, ghosts: readonly Write[]): World => ({
        ...from,
        owner: lost,
        ghosts: [...from.ghosts, ...ghosts],
        losses: losses + 1,
      });
      steps.push(['the connection is cut', cut(world, owner.flight)]);
      if (after !== undefined) steps.push(['the reply is cut', cut(after, rest)]);
    }
  }
  if (owner.mode === 'draining' && first === undefined) {
    steps.push(['owner has drained', { ...world, owner: { ...owner, mode: 'reading' } }]);
  }
  if (owner.mode === 'reading') steps.push(['owner reads', ownerReads(world, options)]);
  if (owner.mode === 'leaping') steps.push(['owner leaps', ownerLeaps(world, options)]);
  return steps;
}

function heard(
  world: World,
  after: World | undefined,
  write: Write,
  flight: readonly Write[],
): World {
  const { owner } = world;
  if (after === undefined) return { ...world, owner: { ...owner, flight, mode: 'draining' } };
  const { version, decisions } = after.head;
  const told = Array.from(new Set([...world.told, ...write.decisions])).sort();
  return { ...after, told, owner: { ...owner, flight, version, known: decisions } };
}

function ownerReads(world: World, { leapWrites }: PipelineOptions): World {
  const { head, owner, losses } = world;
  if (head.isFenced) return { ...world, owner: { ...owner, mode: 'over' } };
  const mode = losses > 0 && leapWrites > 0 ? 'leaping' : 'deciding';
  const { version, decisions: known } = head;
  return { ...world, owner: { ...owner, mode, version, known, leaps: 0 } };
}

function ownerLeaps(world: World, { leapWrites }: PipelineOptions): World {
  const { owner } = world;
  const after = applied(world, { expects: owner.version, decisions: owner.known });
  if (after === undefined) return { ...world, owner: { ...owner, mode: 'reading' } };
  const leaps = owner.leaps + 1;
  const mode = leaps === leapWrites ? 'deciding' : 'leaping';
  return { ...after, owner: { ...owner, leaps, mode, version: owner.version + 1 } };
}

/** What is left of an old connection arrives in its order, or never. */
function ghostSteps(world: World): readonly Step[] {
  const [first, ...ghosts] = world.ghosts;
  if (first === undefined) return [];
  const after = applied(world, first) ?? world;
  return [
    ['a late write arrives', { ...after, ghosts }],
    ['a late write never arrives', { ...world, ghosts }],
  ];
}

function recovererSteps(world: World, { fenceWrites }: PipelineOptions): readonly Step[] {
  const { head, recoverer } = world;
  if (recoverer.concluded !== null) return [];
  if (recoverer.isReading) {
    const { version, decisions: seen } = head;
    const read = { ...recoverer, version, seen, writes: 0, isReading: false };
    return [['recoverer reads', { ...world, recoverer: read }]];
  }
  if (head.version !== recoverer.version) {
    return [['recoverer is refused', { ...world, recoverer: { ...recoverer, isReading: true } }]];
  }
  const version = head.version + 1;
  const writes = recoverer.writes + 1;
  const concluded = writes === fenceWrites ? recoverer.seen : null;
  const fenced = { version, decisions: recoverer.seen, isFenced: true };
  return [
    [
      'recoverer writes',
      { ...world, head: fenced, recoverer: { ...recoverer, version, writes, concluded } },
    ],
  ];
}
