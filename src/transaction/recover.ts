import { abortScope, type Scope, throwIfAborted } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { elapsedMs, type Instant, instantOf } from '../core/clock.js';
import { parseTransactionId, type TransactionId } from '../core/ids.js';
import { assertSignal } from '../core/validate.js';
import type { RecoveryHost } from './host.js';
import type { Participant } from './participant.js';
import {
  fence,
  finishOrphans,
  type OrphanBranch,
  orphansOf,
  passCall,
  type RecoveryPass,
  recoveryPass,
  repeatCommits,
} from './recovery-pass.js';
import type { InDoubtBranch, RecoveryReport } from './recovery-report.js';
import { endLeft } from './remote/caller-desk.js';

/** Recovery of one coordinator. */
export interface Recovery {
  /** One pass over everything. `isPatient` leaves alone for a while what failed lately. */
  recover(signal: AbortSignal | undefined, isPatient: boolean): Promise<RecoveryReport>;
  /** What recovery would find, without touching it. */
  inDoubt(signal: AbortSignal | undefined): AsyncIterableIterator<InDoubtBranch>;
}

interface Setback {
  readonly failures: number;
  readonly since: Instant;
  readonly delayMs: number;
}

const LISTED_MAX = 1_000;
/** So many records are looked up together for the branches in doubt. */
const PAGE = 32;
/** A branch that fails again and again is tried every five minutes in the end. */
const SETBACK = { baseMs: 2_000, maxMs: 300_000 };
/**
 * An incarnation that left nothing is fenced, and so forgotten, after it was silent for so long.
 */
const RETIRE_SILENT_MS = 60_000;

/** The recovery of a coordinator; passes do not overlap. */
export function recoveryOf(host: RecoveryHost): Recovery {
  const setbacks = new Map<string, Setback>();
  const silentSince = new Map<string, Instant>();
  let last: Promise<unknown> = Promise.resolve();

  const isDue = (participant: string, branchId: string): boolean => {
    const setback = setbacks.get(`${participant} ${branchId}`);
    return setback === undefined || elapsedMs(host.clock, setback.since) >= setback.delayMs;
  };
  const pass = async (
    signal: AbortSignal | undefined,
    isPatient: boolean,
  ): Promise<RecoveryReport> => {
    const since = instantOf(host.clock);
    using scope = passScope(host, signal);
    const made = recoveryPass(host, scope.signal, isPatient ? isDue : () => true);
    await Promise.all(Array.from(host.participants.values(), (each) => recoverOne(made, each)));
    await repeatCommits(made);
    await tellLeft(made);
    await forgetSilent(made, silentSince);
    noteSetbacks(made, setbacks);
    return reportOf(made, elapsedMs(host.clock, since));
  };
  return {
    async recover(signal, isPatient) {
      const previous = last;
      const next = previous.then(() => pass(signal, isPatient));
      last = next.catch(() => {});
      const report = await next;
      host.recorder.recovered(report.committed + report.aborted);
      const isNews = report.inDoubt + report.failed.length + report.recommitted > 0;
      if (isNews) host.channels.recovered.publish(() => report);
      return report;
    },
    inDoubt: (signal) => listInDoubt(host, signal),
  };
}

/** The many calls of a pass listen to a signal of its own; the caller's gets one listener. */
function passScope({ clock, stopped }: RecoveryHost, signal: AbortSignal | undefined): Scope {
  return abortScope({ clock, parents: [signal, stopped] });
}

/** A participant that cannot be reached is noted, and holds up nobody. */
async function recoverOne(pass: RecoveryPass, participant: Participant): Promise<void> {
  try {
    const orphans = await orphansOf(pass, participant);
    await finishOrphans(pass, participant, orphans);
  } catch (error) {
    pass.silent.add(participant.name);
    pass.findings.failed.push({ participant: participant.name, error });
  }
}

/** Calls that this coordinator has aborted, and could not tell that. */
async function tellLeft(pass: RecoveryPass): Promise<void> {
  const { calls, active, channels } = pass.host;
  if (calls === undefined) return;
  const isActive = (transactionId: string): boolean => active.has(transactionId as TransactionId);
  try {
    await endLeft(calls, isActive, (ask) => passCall(pass, 'log', ask));
  } catch (error) {
    channels.failed.publish(() => ({ operation: 'end a call', error }));
  }
}

/** Keeps the log's index small: what left nothing behind is fenced once it is silent for good. */
async function forgetSilent(pass: RecoveryPass, silentSince: Map<string, Instant>): Promise<void> {
  const { host } = pass;
  const statuses = await passCall(pass, 'log', (signal) => host.session.incarnations({ signal }));
  const silent = statuses.filter(({ state }) => state === 'silent');
  const names = new Set(silent.map(({ incarnation }) => incarnation));
  for (const name of silentSince.keys()) if (!names.has(name)) silentSince.delete(name);
  for (const name of names) {
    const since = silentSince.get(name) ?? instantOf(host.clock);
    silentSince.set(name, since);
    if (elapsedMs(host.clock, since) >= RETIRE_SILENT_MS) await fence(pass, name);
  }
  await passCall(pass, 'log', (signal) => host.session.prune({ signal }));
}

function noteSetbacks({ findings, host }: RecoveryPass, setbacks: Map<string, Setback>): void {
  const failing = new Map(
    findings.failed.flatMap(({ participant, branchId }) =>
      branchId === undefined ? [] : [[`${participant} ${branchId}`, true] as const],
    ),
  );
  for (const { participant, branchId } of findings.recovered) {
    setbacks.delete(`${participant} ${branchId}`);
  }
  for (const key of failing.keys()) {
    const failures = (setbacks.get(key)?.failures ?? 0) + 1;
    const delayMs = backoffMs(failures - 1, SETBACK, host.random);
    setbacks.set(key, { failures, delayMs, since: instantOf(host.clock) });
  }
  // Bounded: the oldest setbacks are forgotten, which costs one early try.
  for (const key of setbacks.keys()) {
    if (setbacks.size <= LISTED_MAX) break;
    setbacks.delete(key);
  }
}

function reportOf({ findings }: RecoveryPass, durationMs: number): RecoveryReport {
  const { recovered, failed, unknown, unknownParticipants, fenced, recommitted } = findings;
  const committed = recovered.filter(({ outcome }) => outcome === 'committed').length;
  const unfinished = failed.filter(({ branchId }) => branchId !== undefined).length;
  return {
    inDoubt: recovered.length + unfinished,
    committed,
    aborted: recovered.length - committed,
    inDoubtMsMax: recovered.reduce((most, { inDoubtMs = 0 }) => Math.max(most, inDoubtMs), 0),
    recommitted,
    branches: recovered.slice(0, LISTED_MAX),
    failed: failed.slice(0, LISTED_MAX),
    unknownNamespace: unknown.slice(0, LISTED_MAX),
    unknownParticipants: Array.from(unknownParticipants),
    fenced: Array.from(fenced),
    durationMs,
  };
}

/** Own transactions whose decision is not known first, then what the resources hold. */
async function* listInDoubt(
  host: RecoveryHost,
  signal: AbortSignal | undefined,
): AsyncGenerator<InDoubtBranch, void, undefined> {
  assertSignal(signal);
  for (const [transactionId, active] of Array.from(host.active.entries())) {
    if (!active.isInDoubt()) continue;
    const { incarnation, branches } = active;
    for (const { branchId, participant } of branches) {
      const { name } = participant;
      yield { transactionId, branchId, participant: name, incarnation, decision: 'unknown' };
    }
  }
  yield* bySites(host);
  using scope = passScope(host, signal);
  const pass = recoveryPass(host, scope.signal, () => true);
  const failures: unknown[] = [];
  for (const participant of host.participants.values()) {
    try {
      const orphans = await orphansOf(pass, participant);
      for (let from = 0; from < orphans.length; from += PAGE) {
        const page = orphans.slice(from, from + PAGE);
        yield* await Promise.all(page.map((orphan) => decisionOf(pass, participant, orphan)));
      }
    } catch (error) {
      throwIfAborted(scope.signal);
      failures.push(error);
    }
  }
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, 'participants could not be listed');
}

/** What this site, in an earlier life too, has voted for: its sites decide, and no log tells. */
function* bySites(host: RecoveryHost): Generator<InDoubtBranch, void, undefined> {
  for (const { transactionId, branches, decision, ageMs } of host.sitesRecords?.() ?? []) {
    const parsed = parseTransactionId(transactionId);
    if (parsed === undefined || host.active.has(transactionId as TransactionId)) continue;
    const { incarnation } = parsed;
    for (const { participant, branchId } of branches) {
      const id = transactionId as TransactionId;
      yield { transactionId: id, branchId, participant, incarnation, ageMs, decision };
    }
  }
}

async function decisionOf(
  pass: RecoveryPass,
  { name: participant }: Participant,
  { transactionId, branchId, origin: { incarnation }, ageMs }: OrphanBranch,
): Promise<InDoubtBranch> {
  const record = await passCall(pass, 'log', (signal) =>
    pass.host.session.find(transactionId, { signal }),
  );
  const decision = record === undefined ? 'none' : 'commit';
  return { transactionId, branchId, participant, incarnation, ageMs, decision };
}
