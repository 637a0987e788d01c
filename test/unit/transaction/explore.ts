/** A system for {@link explore}: plain data as states, every step that can happen from one. */
export interface Model<State> {
  readonly start: State;
  steps(state: State): readonly (readonly [label: string, next: State])[];
  /** What is wrong with a state, or undefined. */
  violation(state: State): string | undefined;
  /** Whether everything has come to an end; from every state such a one must be reachable. */
  isSettled(state: State): boolean;
}

export interface Exploration {
  readonly stateCount: number;
  /** The first violation, with the shortest trace that leads there. */
  readonly violation?: { readonly what: string; readonly trace: readonly string[] };
  /** A reachable state from which no settled one can be reached, with its trace. */
  readonly stuck?: { readonly trace: readonly string[] };
}

const STATES_MAX = 3_000_000;

/**
 * Visits every reachable state, breadth first, so that a trace is the shortest one. (Explicit-state
 * model checking as TLC does it, with invariants and "always possibly settled".)
 */
export function explore<State>(model: Model<State>): Exploration {
  const keys = new Map<string, number>();
  const states: (State | undefined)[] = [];
  const cameFrom: (readonly [number, string])[] = [];
  const predecessors: number[][] = [];
  const settled: number[] = [];
  const visit = (state: State, from: number, label: string): void => {
    const key = JSON.stringify(state);
    const known = keys.get(key);
    if (known !== undefined) {
      predecessors[known]?.push(from);
      return;
    }
    keys.set(key, states.length);
    states.push(state);
    cameFrom.push([from, label]);
    predecessors.push(from < 0 ? [] : [from]);
  };
  const traceTo = (index: number): readonly string[] => {
    const trace: string[] = [];
    for (let at = index; at > 0; at = cameFrom[at]?.[0] ?? 0)
      trace.unshift(cameFrom[at]?.[1] ?? '');
    return trace;
  };
  visit(model.start, -1, '');
  for (let index = 0; index < states.length; index += 1) {
    const state = states[index] as State;
    const what = model.violation(state);
    if (what !== undefined) {
      return { stateCount: states.length, violation: { what, trace: traceTo(index) } };
    }
    if (model.isSettled(state)) settled.push(index);
    for (const [label, next] of model.steps(state)) visit(next, index, label);
    states[index] = undefined;
    if (states.length > STATES_MAX) throw new Error(`more than ${STATES_MAX} states`);
  }
  const stuck = firstUnreached(settled, predecessors);
  const stateCount = states.length;
  return stuck === undefined ? { stateCount } : { stateCount, stuck: { trace: traceTo(stuck) } };
}

/** The first state from which none of `targets` can be reached. */
function firstUnreached(
  targets: readonly number[],
  predecessors: readonly (readonly number[])[],
): number | undefined {
  const reached = new Uint8Array(predecessors.length);
  const queue = [...targets];
  for (const index of queue) reached[index] = 1;
  for (let at = 0; at < queue.length; at += 1) {
    for (const before of predecessors[queue[at] ?? 0] ?? []) {
      if (reached[before] === 1) continue;
      reached[before] = 1;
      queue.push(before);
    }
  }
  const first = reached.indexOf(0);
  return first < 0 ? undefined : first;
}
