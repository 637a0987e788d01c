import { FAULT_KINDS, type Fault, type FaultKind } from './explore-crashes-life.js';

/** Where the processes of one play fail. */
export interface CrashPoint {
  /** What the owner's body asks for in the end. */
  readonly ending: 'commit' | 'abort';
  readonly owner?: Fault | undefined;
  /** The process that recovers first; another one always follows. */
  readonly recoverer?: Fault | undefined;
}

/** `commit; owner log.decide reply-lost; recoverer orders.commit crash-after` */
export function pointName({ ending, owner, recoverer }: CrashPoint): string {
  const faults = [
    ['owner', owner],
    ['recoverer', recoverer],
  ] as const;
  const parts = faults.flatMap(([who, fault]) =>
    fault === undefined ? [] : [`${who} ${fault.step} ${fault.kind}`],
  );
  return [ending, ...parts].join('; ');
}

/** The inverse of {@link pointName}; undefined for a text that it cannot have made. */
export function parsePointName(name: string): CrashPoint | undefined {
  const [ending, ...parts] = name.split('; ');
  if (ending !== 'commit' && ending !== 'abort') return undefined;
  const faults: Partial<Record<'owner' | 'recoverer', Fault>> = {};
  for (const part of parts) {
    const [who, step, kind] = part.split(' ');
    const isFault = step !== undefined && FAULT_KINDS.some((each) => each === kind);
    if ((who !== 'owner' && who !== 'recoverer') || !isFault) return undefined;
    faults[who] = { step, kind: kind as FaultKind };
  }
  const point = { ending, ...faults } as const;
  return pointName(point) === name ? point : undefined;
}

/** The points of one death: every call of the owner with everything that can go wrong there. */
export function ownerPoints(
  ending: CrashPoint['ending'],
  steps: readonly string[],
): readonly CrashPoint[] {
  return steps.flatMap((step) => {
    // The driver of a one-phase commit finds out by itself what became of it: it has the evidence.
    const isOwnFinding = step.includes('.commitOnePhase');
    const kinds = FAULT_KINDS.filter((kind) => !(isOwnFinding && kind === 'reply-lost'));
    return kinds.map((kind) => ({ ending, owner: { step, kind } }));
  });
}

/** A point with every fault of its recoverer. */
export function recovererPoints(
  point: CrashPoint,
  steps: readonly string[],
): readonly CrashPoint[] {
  const kinds = ['crash-before', 'reply-lost', 'crash-after'] as const;
  return steps.flatMap((step) => kinds.map((kind) => ({ ...point, recoverer: { step, kind } })));
}
