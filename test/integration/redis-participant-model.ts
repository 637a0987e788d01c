// The Redis participant as a few maps in one process: what it must agree with.

/** One thing that a branch does. */
export type Deed =
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete' | 'get'; readonly key: string }
  | { readonly kind: 'expect'; readonly key: string; readonly value: string | undefined }
  | {
      readonly kind: 'increment';
      readonly key: string;
      readonly by: number;
      readonly min: number | undefined;
    }
  | { readonly kind: 'reserve'; readonly key: string; readonly by: number };

interface Plan {
  seen?: { value: string | undefined };
  write?: { set: string | undefined } | { by: number; min: number };
}

interface Branch {
  readonly plans: Map<string, Plan>;
  isEnded: boolean;
  isOver: boolean;
}

const NONE = Number.NEGATIVE_INFINITY;
const isNumber = (value = '0') => /^-?\d+$/.test(value);
const isAdd = (write: Plan['write']) => write !== undefined && 'by' in write;

/** The model, with branches by their number. */
export function naiveShop() {
  const values = new Map<string, string>();
  const branches = new Map<number, Branch>();
  const prepared = new Map<number, Map<string, Plan>>();
  const outcomes = new Map<number, 'committed' | 'aborted'>();

  const branchOf = (index: number): Branch => {
    const branch = branches.get(index) ?? { plans: new Map(), isEnded: false, isOver: false };
    branches.set(index, branch);
    return branch;
  };
  const put = (key: string, value: string | undefined) => {
    if (value === undefined) values.delete(key);
    else values.set(key, value);
  };
  const add = (key: string, by: number) => put(key, String(Number(values.get(key) ?? 0) + by));
  const increment = (plan: Plan, key: string, by: number, min = NONE): number | string => {
    const { write } = plan;
    const isSet = write !== undefined && 'set' in write;
    const base = isSet ? write.set : values.get(key);
    if (!isNumber(base)) return 'CONDITION_FAILED';
    const total = isAdd(write) ? { ...(write as { by: number; min: number }) } : { by: 0, min };
    total.by += by;
    total.min = Math.max(total.min, min);
    const sum = Number(base ?? 0) + total.by;
    if (total.by < 0 && sum < total.min) return 'CONDITION_FAILED';
    plan.write = isSet ? { set: String(sum) } : total;
    return sum;
  };
  const mode = ({ seen, write }: Plan) => {
    if (write === undefined) return 'look';
    return isAdd(write) && seen === undefined ? 'add' : 'alone';
  };
  const isRefused = (plans: Map<string, Plan>): boolean =>
    Array.from(plans).some(([key, plan]) => {
      const others = Array.from(prepared.values(), (each) => each.get(key)).filter((p) => p);
      const clashes = others.some((o) => mode(plan) === 'alone' || mode(o as Plan) !== mode(plan));
      const value = values.get(key);
      if (clashes || (plan.seen !== undefined && plan.seen.value !== value)) return true;
      if (plan.write === undefined || !('by' in plan.write)) return false;
      const { by, min } = plan.write;
      return !isNumber(value) || (by < 0 && Number(value ?? 0) + by < min);
    });
  const take = (plans: Map<string, Plan>, sign: 1 | -1) => {
    for (const [key, { write }] of plans) {
      if (write && 'by' in write && write.by < 0) add(key, sign * write.by);
    }
  };
  const apply = (plans: Map<string, Plan>) => {
    for (const [key, { write }] of plans) {
      if (write && 'set' in write) put(key, write.set);
      else if (write && write.by > 0) add(key, write.by);
    }
  };
  /** What both kinds of prepare have in common; undefined when the branch may go on. */
  const verdict = (index: number): 'read-only' | 'no' | 'yes' | undefined => {
    const branch = branchOf(index);
    branch.isEnded = true;
    if (branch.isOver) return 'no';
    if (prepared.has(index)) return 'yes';
    const isEmpty = branch.plans.size === 0;
    const isNo = !isEmpty && (outcomes.has(index) || isRefused(branch.plans));
    const isReadOnly = !isNo && Array.from(branch.plans.values()).every((plan) => !plan.write);
    branch.isOver = isNo || isReadOnly;
    if (isNo && !outcomes.has(index)) outcomes.set(index, 'aborted');
    return isNo ? 'no' : isReadOnly ? 'read-only' : undefined;
  };
  return {
    load: put,
    stored: (keys: readonly string[]) => keys.map((key) => values.get(key) ?? null),
    preparedCount: () => prepared.size,
    work(index: number, deed: Deed): unknown {
      const { plans, isEnded } = branchOf(index);
      if (isEnded) return 'BRANCH_ENDED';
      const { key } = deed;
      const plan = plans.get(key) ?? {};
      if (deed.kind === 'increment' || deed.kind === 'reserve') {
        const { by, min } = deed.kind === 'reserve' ? { by: -deed.by, min: 0 } : deed;
        const sum = increment(plan, key, by, min);
        if (plan.write !== undefined) plans.set(key, plan);
        return sum;
      }
      plans.set(key, plan);
      if (deed.kind === 'set') plan.write = { set: deed.value };
      if (deed.kind === 'delete') plan.write = { set: undefined };
      if (deed.kind === 'expect') {
        if (plan.seen !== undefined && plan.seen.value !== deed.value) return 'CONDITION_FAILED';
        plan.seen = { value: deed.value };
      }
      if (deed.kind !== 'get') return undefined;
      if (plan.write && 'set' in plan.write) return plan.write.set;
      plan.seen ??= { value: values.get(key) };
      if (plan.write === undefined) return plan.seen.value;
      if (!isNumber(plan.seen.value)) return 'CONDITION_FAILED';
      return String(Number(plan.seen.value ?? 0) + plan.write.by);
    },
    prepare(index: number): 'yes' | 'no' | 'read-only' {
      const found = verdict(index);
      if (found !== undefined) return found;
      const { plans } = branchOf(index);
      prepared.set(index, plans);
      take(plans, 1);
      return 'yes';
    },
    onePhase(index: number): 'committed' | 'aborted' | 'unknown' {
      const found = verdict(index);
      if (found === 'no') return 'aborted';
      if (found === 'read-only') return 'committed';
      if (found === 'yes') return 'unknown';
      const branch = branchOf(index);
      branch.isOver = true;
      take(branch.plans, 1);
      apply(branch.plans);
      outcomes.set(index, 'committed');
      return 'committed';
    },
    /** `done`, or the code of the refusal. */
    end(index: number, verb: 'commit' | 'abort'): string {
      const wanted = verb === 'commit' ? 'committed' : 'aborted';
      const found = outcomes.get(index);
      if (found !== undefined) return found === wanted ? 'done' : 'OUTCOME_CONTRADICTED';
      const plans = prepared.get(index);
      if (plans === undefined && verb === 'commit') return 'RESULT_UNKNOWN';
      prepared.delete(index);
      if (verb === 'commit') apply(plans ?? new Map());
      else take(plans ?? new Map(), -1);
      outcomes.set(index, wanted);
      return 'done';
    },
  };
}
