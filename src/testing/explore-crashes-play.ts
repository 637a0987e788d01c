import { abortable, abortScope, sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { parseTransactionId } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import type { Transaction } from '../transaction/coordinator.js';
import type { RecoveryReport } from '../transaction/recovery-report.js';
import type { Grounds } from './explore-crashes-grounds.js';
import { type Fault, type Life, life } from './explore-crashes-life.js';
import type { CrashSighting, CrashSubject, CrashTurn } from './explore-crashes-options.js';
import { type CrashPoint, pointName } from './explore-crashes-points.js';
import { type ExploredProcess, exploredProcess } from './explore-crashes-process.js';

/** What is explored, with every default filled in. */
export interface PlaySubject {
  readonly grounds: Grounds;
  readonly body: (tx: Transaction, turn: CrashTurn) => Promise<unknown> | unknown;
  readonly check: (turn: CrashSubject) => Promise<CrashSighting> | CrashSighting;
  readonly arrange: (turn: CrashSubject) => Promise<unknown> | unknown;
  readonly coordinator: Parameters<typeof exploredProcess>[2]['coordinator'];
  readonly playTimeoutMs: number;
}

/** How a play ended. */
export interface Played {
  readonly point: string;
  /** The rules that it broke. */
  readonly broken: readonly string[];
  readonly trace: readonly string[];
  readonly ownerSteps: readonly string[];
  readonly recovererSteps: readonly string[];
  readonly isCommitted: boolean;
}

/** What the owner heard. */
type Told = 'committed' | 'aborted' | 'in-doubt' | 'refused' | undefined;

const QUIET_TRIES_MAX = 50;
const POLL_MS = 20;
const TRANSACTION_TIMEOUT_MS = 10_000;

/** Plays the transaction once with the faults of a point, and looks at what is left. */
export async function play(subject: PlaySubject, point: CrashPoint): Promise<Played> {
  const playing = new Play(subject, point);
  using scope = abortScope({ clock: systemClock, timeoutMs: subject.playTimeoutMs });
  try {
    await abortable(playing.run(), scope.signal);
  } catch (error) {
    const isLate = scope.signal.aborted;
    const what = isLate ? `not over after ${subject.playTimeoutMs} ms` : String(error);
    playing.broke(isLate ? 'termination' : 'failure', what);
  }
  // What hangs is let go too, and not waited for without end.
  using patience = abortScope({ clock: systemClock, timeoutMs: TRANSACTION_TIMEOUT_MS });
  await abortable(playing.end(), patience.signal).catch(() => {});
  return playing.played();
}

/** One play: an owner, a recoverer that may die too, and a last process that finishes. */
class Play {
  readonly #subject: PlaySubject;
  readonly #point: CrashPoint;
  readonly #trace: string[] = [];
  readonly #broken: string[] = [];
  readonly #processes: ExploredProcess[] = [];
  readonly #namespace = `x${systemRandom.token(9)}`;
  readonly #about: CrashSubject = {
    key: systemRandom.token(16),
    lane: systemRandom.token(16),
  };
  readonly #seen = new Set<string>();
  #ownerSteps: readonly string[] = [];
  #recovererSteps: readonly string[] = [];
  #told: Told;
  #isCommitted = false;

  constructor(subject: PlaySubject, point: CrashPoint) {
    this.#subject = subject;
    this.#point = point;
  }

  played(): Played {
    return {
      point: pointName(this.#point),
      broken: this.#broken,
      trace: this.#trace,
      ownerSteps: this.#ownerSteps,
      recovererSteps: this.#recovererSteps,
      isCommitted: this.#isCommitted,
    };
  }

  broke(rule: string, what: string): void {
    this.#broken.push(`${rule}: ${what}`);
  }

  async run(): Promise<void> {
    await this.#subject.arrange(this.#about);
    const owner = await this.#process('owner', this.#point.owner);
    const answer = this.#ask(owner, this.#about, this.#point.ending);
    await Promise.race([answer, owner.life.reached]);
    this.#ownerSteps = [...owner.life.steps];
    await this.#bury(owner);
    await this.#look('after the owner');
    if (this.#point.owner !== undefined) await this.#recoverOnce();
    if (!owner.life.isDead()) await this.#sendOff(owner, answer);
    const last = await this.#process('last', undefined);
    await this.#quiesce(last);
    await this.#judge(last);
    await this.#goOn(last);
  }

  /** Lets go of every process; those that live serve in other plays. */
  async end(): Promise<void> {
    const { grounds } = this.#subject;
    await Promise.allSettled(
      this.#processes.map((process) => grounds.giveBack(process.opened, process.end)),
    );
  }

  async #process(name: string, fault: Fault | undefined): Promise<ExploredProcess> {
    const opened = await this.#subject.grounds.take();
    const living: Life = life(name, fault, (line) => this.#trace.push(line));
    const process = exploredProcess(opened, living, {
      namespace: this.#namespace,
      coordinator: this.#subject.coordinator,
      isGone: (incarnation) =>
        this.#processes.some(
          (each) => each.life.isGone() && each.life.incarnations.has(incarnation),
        ),
    });
    this.#processes.push(process);
    return process;
  }

  /** Runs the transaction; what the process hears of it, if it lives. Never rejects. */
  async #ask(
    { coordinator, transaction, participants }: ExploredProcess,
    about: CrashSubject,
    ending: CrashPoint['ending'],
  ): Promise<Told> {
    const { body } = this.#subject;
    const options = { resourceId: `explored:${about.key}`, timeoutMs: TRANSACTION_TIMEOUT_MS };
    try {
      const outcome = await coordinator.run(options, async (tx) => {
        await body(transaction(tx), { ...about, participants });
        if (ending === 'abort') tx.setRollbackOnly('explored');
      });
      const why = outcome.state === 'aborted' ? ` by ${outcome.by}: ${outcome.reason}` : '';
      this.#trace.push(`told ${outcome.state}${why}`);
      return outcome.state;
    } catch (error) {
      this.#trace.push(`refused: ${String(error)}`);
      return 'refused';
    }
  }

  /** What a dead process had open is cut; what it had sent arrives or does not. */
  async #bury({ life: { isDead, settled }, opened }: ExploredProcess): Promise<void> {
    if (!isDead()) return;
    await this.#subject.grounds.crash(opened);
    await settled();
  }

  async #recoverOnce(): Promise<void> {
    const recoverer = await this.#process('recoverer', this.#point.recoverer);
    const { life: living, coordinator } = recoverer;
    const recovering = coordinator.recover().then(
      () => {},
      (error: unknown) => {
        this.#trace.push(`recovery failed: ${String(error)}`);
      },
    );
    await Promise.race([recovering, living.reached]);
    this.#recovererSteps = [...living.steps];
    await this.#bury(recoverer);
    await this.#look('after the recoverer');
    if (!living.isDead()) await recoverer.end();
  }

  /** An owner that lives hears its answer, and leaves nothing behind. */
  async #sendOff(owner: ExploredProcess, answer: Promise<Told>): Promise<void> {
    if (owner.life.isGone()) owner.life.wake();
    this.#told = await answer;
    await owner.end();
    await this.#untilEmpty('residue', () => this.#subject.grounds.residue(owner.opened));
  }

  /** Recovers until there is nothing to recover: the last pass repeats what the others did. */
  async #quiesce(last: ExploredProcess): Promise<void> {
    let report: RecoveryReport | undefined;
    for (let attempt = 0; attempt < QUIET_TRIES_MAX; attempt += 1) {
      report = await last.coordinator.recover();
      const { inDoubt, failed, recommitted } = report;
      if (inDoubt + failed.length + recommitted === 0) return;
      for (const { error } of failed) this.#trace.push(`last failed: ${String(error)}`);
      if (attempt > 0) await sleep(systemClock, POLL_MS);
    }
    this.broke('termination', `recovery still finds ${JSON.stringify(report)}`);
  }

  /** Looks at the effects; what was seen once must stay. */
  async #look(when: string, about = this.#about): Promise<ReadonlyMap<string, boolean>> {
    const sighting = await this.#subject.check(about);
    const entries =
      typeof sighting === 'object' ? Object.entries(sighting) : [['all', sighting] as const];
    const seen = new Map(entries.flatMap(([name, is]) => (is === undefined ? [] : [[name, is]])));
    if (about !== this.#about) return seen;
    for (const [name, is] of seen) {
      if (is) this.#seen.add(name);
      else if (this.#seen.has(name)) this.broke('stability', `${name} was undone ${when}`);
    }
    return seen;
  }

  async #judge(last: ExploredProcess): Promise<void> {
    const seen = await this.#look('at the end');
    const [done, undone] = [true, false].map((wanted) =>
      Array.from(seen).flatMap(([name, is]) => (is === wanted ? [name] : [])),
    ) as [string[], string[]];
    const told = this.#told;
    const { ending, owner } = this.#point;
    this.#isCommitted = done.length > 0;
    if (done.length > 0 && undone.length > 0) {
      this.broke('atomicity', `${done.join(', ')} committed, ${undone.join(', ')} did not`);
    }
    if (told === 'committed' && undone.length > 0) {
      this.broke('no false success', `told committed, and ${undone.join(', ')} did not`);
    }
    if ((told === 'aborted' || told === 'refused') && done.length > 0) {
      this.broke('no false abort', `told ${told}, and ${done.join(', ')} committed`);
    }
    if (ending === 'abort' && done.length > 0) {
      this.broke('validity', `${done.join(', ')} committed what was to be rolled back`);
    }
    if (ending === 'commit' && owner === undefined && told !== 'committed') {
      this.broke('validity', `without any fault it was told ${told}`);
    }
    await this.#untilEmpty('residue', () => this.#leftOver(last));
  }

  async #leftOver({ opened }: ExploredProcess): Promise<readonly string[]> {
    const prepared = Array.from(opened.participants, async ([name, { participant }]) => {
      const listed = await participant.recover();
      const ours = listed.filter(({ branchId }) => namespaceOf(branchId) === this.#namespace);
      return ours.map(({ branchId }) => `${name} holds ${branchId} prepared`);
    });
    return (await Promise.all(prepared)).flat();
  }

  /** Nothing is locked: the next transaction commits. And the log has nothing open any more. */
  async #goOn(last: ExploredProcess): Promise<void> {
    const about = { ...this.#about, key: systemRandom.token(16) };
    await this.#subject.arrange(about);
    const told = await this.#ask(last, about, 'commit');
    if (told !== 'committed') this.broke('residue', `the next transaction was told ${told}`);
    const seen = await this.#look('of the next', about);
    const missing = Array.from(seen).flatMap(([name, is]) => (is ? [] : [name]));
    if (missing.length > 0) this.broke('residue', `the next one lacks ${missing.join(', ')}`);
    await this.#untilEmpty('residue', () => this.#openRecords(last));
    await last.end();
    await this.#untilEmpty('residue', () => this.#subject.grounds.residue(last.opened));
  }

  async #openRecords({ opened }: ExploredProcess): Promise<readonly string[]> {
    const session = opened.log.log.open({
      nodeId: 'explorer',
      namespace: this.#namespace,
      clock: systemClock,
      random: systemRandom,
    });
    try {
      const statuses = await session.incarnations();
      return statuses.flatMap(({ incarnation, unacknowledgedCount: count }) =>
        count === 0 ? [] : [`the log has ${count} open records of ${incarnation}`],
      );
    } finally {
      await session.close();
    }
  }

  /** What is written lazily may take a moment. */
  async #untilEmpty(rule: string, look: () => Promise<readonly string[]>): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const found = await look();
      if (found.length === 0) return;
      if (attempt >= QUIET_TRIES_MAX) return this.broke(rule, found.join('; '));
      await sleep(systemClock, POLL_MS);
    }
  }
}

function namespaceOf(branchId: string): string | undefined {
  return parseTransactionId(branchId.slice(0, branchId.lastIndexOf('.')))?.namespace;
}
