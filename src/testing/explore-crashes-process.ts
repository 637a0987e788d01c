import { onAbort } from '../core/abort.js';
import type { Transaction, TransactionCoordinatorOptions } from '../transaction/coordinator.js';
import type { DecisionLog, DecisionLogSession } from '../transaction/decision-log.js';
import type { Branch, Participant } from '../transaction/participant.js';
import type { Life } from './explore-crashes-life.js';
import type {
  CrashableLog,
  CrashableParticipant,
  ExploredCoordinator,
} from './explore-crashes-options.js';

/** What one process has open. */
export interface OpenedProcess {
  readonly log: CrashableLog;
  readonly participants: ReadonlyMap<string, CrashableParticipant>;
  /** Those that were opened for this process alone. */
  readonly owned: readonly Participant[];
}

/** A process in one play: its coordinator, all of whose calls pass its life. */
export interface ExploredProcess {
  readonly life: Life;
  readonly opened: OpenedProcess;
  readonly coordinator: ExploredCoordinator;
  /** The participants as the coordinator knows them, by the names of the options. */
  readonly participants: Readonly<Record<string, Participant>>;
  /** The transaction as the body gets it: it knows a participant by its name, too. */
  transaction(tx: Transaction): Transaction;
  /** Lets go of everything that the coordinator holds, whatever its state. */
  end(): Promise<void>;
}

/** Starts a coordinator on what a process has open. */
export function exploredProcess(
  opened: OpenedProcess,
  life: Life,
  options: {
    readonly namespace: string;
    /** Whether the others take the process with this incarnation for dead. */
    readonly isGone: (incarnation: string) => boolean;
    readonly coordinator: (options: TransactionCoordinatorOptions) => ExploredCoordinator;
  },
): ExploredProcess {
  const { namespace, isGone } = options;
  const sessions: DecisionLogSession[] = [];
  const wrapped = new Map<string, Participant>();
  for (const [name, { participant }] of opened.participants) {
    wrapped.set(name, steppedParticipant(participant, name, life));
  }
  const byIdentity = new Map<Participant, Participant>();
  for (const [name, { participant }] of opened.participants) {
    const mine = wrapped.get(name);
    if (mine !== undefined) byIdentity.set(participant, mine);
  }
  const coordinator = options.coordinator({
    log: steppedLog(opened.log.log, life, isGone, sessions),
    participants: Array.from(wrapped.values()),
    namespace,
    sweepMs: Number.POSITIVE_INFINITY,
    acceptRisk: true,
  });
  return {
    life,
    opened,
    coordinator,
    participants: Object.fromEntries(wrapped),
    transaction: (tx) => ({
      ...tx,
      enlist: (participant) =>
        tx.enlist((byIdentity.get(participant) ?? participant) as typeof participant),
    }),
    async end() {
      await coordinator.close({ drainMs: life.isDead() ? 0 : DRAIN_MS });
      life.leave();
      // A dead process said no goodbye; what its log opened in here must end all the same.
      await Promise.allSettled(sessions.map((session) => session.close()));
    },
  };
}

const DRAIN_MS = 5_000;
/** Not calls to a resource: what they answer is there at once. */
const SPARED: ReadonlySet<PropertyKey> = new Set(['handle', 'fencedSignal', 'close', 'isConflict']);

function steppedParticipant(real: Participant, name: string, life: Life): Participant {
  return stepped(real, name, life, {
    enlist: async (context) => {
      const branch = await life.step(
        `${name}.enlist`,
        () => real.enlist(context),
        // A driver whose BEGIN was not answered closes the connection.
        (begun) => begun.abort(),
      );
      return stepped<Branch>(branch, `${name}.branch`, life, {});
    },
    close: async () => {},
  });
}

function steppedLog(
  real: DecisionLog,
  life: Life,
  isGone: (incarnation: string) => boolean,
  sessions: DecisionLogSession[],
): DecisionLog {
  return {
    backend: real.backend,
    authority: real.authority,
    open(node) {
      const session = real.open(node);
      sessions.push(session);
      return steppedSession(session, life, isGone);
    },
  };
}

function steppedSession(
  real: DecisionLogSession,
  life: Life,
  isGone: (incarnation: string) => boolean,
): DecisionLogSession {
  const { step, incarnations, isDead, hasSlept } = life;
  const fences = new Map<string, AbortController>();
  return stepped(real, 'log', life, {
    register(incarnation, options) {
      incarnations.add(incarnation);
      return step('log.register', () => real.register(incarnation, options));
    },
    async decide(...args) {
      const [incarnation] = args;
      const answer = await step('log.decide', () => real.decide(...args));
      if (answer === 'fenced')
        fences.get(incarnation)?.abort(real.fencedSignal(incarnation).reason);
      return answer;
    },
    incarnations: (options) =>
      step('log.incarnations', async () => {
        // The suspicion is the explorer's own: no play waits for a time-out, and a process that is
        // only asleep is suspected too.
        const statuses = await real.incarnations(options);
        return statuses.map((status) =>
          status.state === 'live' && isGone(status.incarnation)
            ? { ...status, state: 'silent' as const }
            : status,
        );
      }),
    fencedSignal(incarnation) {
      const controller = fences.get(incarnation) ?? new AbortController();
      fences.set(incarnation, controller);
      const signal = real.fencedSignal(incarnation);
      // Who slept hears of its fence as late as the log may tell it: with the answer to a decision.
      onAbort(signal, () => {
        if (!hasSlept()) controller.abort(signal.reason);
      });
      return controller.signal;
    },
    async close() {
      if (!isDead()) await real.close();
    },
  });
}

/** The same object, whatever it is made of, with each of its calls as a step of a life. */
function stepped<Target extends object>(
  real: Target,
  prefix: string,
  { step }: Life,
  instead: Partial<Target>,
): Target {
  return new Proxy(real, {
    get(target, name) {
      const own = Reflect.get(instead, name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || SPARED.has(name)) return value;
      return (...args: readonly unknown[]) =>
        step(`${prefix}.${String(name)}`, async () => value.apply(target, args));
    },
  });
}
