/** What an exploration found. */
export type Verdict =
  | { readonly holds: true; readonly states: number }
  | {
      readonly holds: false;
      readonly states: number;
      readonly fault: string;
      readonly trace: string[];
    };

/** A system with a finite number of states: where it begins, what can happen, and what must hold. */
export interface Model<State> {
  readonly initial: State;
  next(state: State): readonly (readonly [label: string, state: State])[];
  /** The sentence that is violated in a state; undefined when it is a good one. */
  faultOf(state: State): string | undefined;
}

/** Visits every reachable state, breadth first, so that the trace to a fault is a shortest one. */
export function explore<State>(model: Model<State>, statesMax = 500_000): Verdict {
  const cameFrom = new Map<string, readonly [parent: string, label: string] | undefined>();
  const initialKey = JSON.stringify(model.initial);
  cameFrom.set(initialKey, undefined);
  const queue: [string, State][] = [[initialKey, model.initial]];
  for (let head = 0; head < queue.length; head += 1) {
    const [key, state] = queue[head] as [string, State];
    const fault = model.faultOf(state);
    if (fault !== undefined) {
      return { holds: false, states: head + 1, fault, trace: traceTo(key, cameFrom) };
    }
    for (const [label, following] of model.next(state)) {
      const followingKey = JSON.stringify(following);
      if (cameFrom.has(followingKey)) continue;
      cameFrom.set(followingKey, [key, label]);
      queue.push([followingKey, following]);
    }
    if (queue.length > statesMax) throw new Error(`more than ${statesMax} states`);
  }
  return { holds: true, states: queue.length };
}

function traceTo(
  key: string,
  cameFrom: ReadonlyMap<string, readonly [parent: string, label: string] | undefined>,
): string[] {
  const trace: string[] = [];
  for (let step = cameFrom.get(key); step !== undefined; step = cameFrom.get(step[0])) {
    trace.unshift(step[1]);
  }
  return trace;
}
