import type { Mutant } from './mutant.js';

const folder = 'src/drivers/zookeeper';
const lockContract = { project: 'contract', file: 'test/contract/lock-zookeeper.test.ts' } as const;
const logContract = {
  project: 'contract',
  file: 'test/contract/decision-log-zookeeper.test.ts',
} as const;
const lockFaults = { project: 'fault', file: 'test/fault/zookeeper-lock.test.ts' } as const;
const logFaults = { project: 'fault', file: 'test/fault/zookeeper-log.test.ts' } as const;

export const mutants: readonly Mutant[] = [
  {
    id: 'zookeeper-tokens-without-room-for-a-block',
    file: `${folder}/lock-fence.ts`,
    find: 'return BigInt(zxid) * BigInt(TOKENS_PER_ZXID);',
    replace: 'return BigInt(zxid);',
    tests: { ...lockContract, name: 'a reserved block of tokens' },
    why: 'Tokens handed over inside a node would be given to the next holder as well.',
  },
  {
    id: 'zookeeper-lost-create-reply-is-a-failure',
    file: `${folder}/lock-place.ts`,
    find: "    if (created.kind === 'unknown') return adopt(context, grantId);\n",
    replace: '',
    tests: { ...lockFaults, name: 'a cut connection whose create was forwarded' },
    why: 'A place whose creation was not answered would fail the acquire that has it.',
  },
  {
    id: 'zookeeper-lost-delete-reply-is-a-loss',
    file: `${folder}/lock-keeping.ts`,
    find: "return isRepeated ? 'released' : 'lost';",
    replace: "return isRepeated ? 'lost' : 'lost';",
    tests: { ...lockFaults, name: 'a cut connection whose delete was forwarded' },
    why: 'Work that was done under a valid lease would be reported as having raced.',
  },
  {
    id: 'zookeeper-aborted-place-stays-in-line',
    file: `${folder}/lock-acquire.ts`,
    find: 'void taking.catch(() => {}).then(() => leavePlace(context, grantId, known?.name));',
    replace: 'void taking.catch(() => {});',
    tests: { ...lockFaults, name: 'an aborted acquire whose create reply was cut' },
    why: 'A request that gave up would block the line for as long as its process lives.',
  },
  {
    id: 'zookeeper-watch-is-not-set-again',
    file: `${folder}/lock-acquire.ts`,
    find: "(event === 'deleted' ? wake() : watch())",
    replace: "(event === 'deleted' ? wake() : undefined)",
    tests: { ...lockContract, name: 'a release hands over to the next in line at once' },
    why: 'A watch fires once: after the holder published its token, its release would not be heard.',
  },
  {
    id: 'zookeeper-lease-outlives-its-session',
    file: `${folder}/lock-grants.ts`,
    find: '  endings.push(onAbort(live.ended, () => held.end(sessionLostError(grant, live.ended.reason))));\n',
    replace: '  void [onAbort, sessionLostError];\n',
    tests: { ...lockFaults, name: 'a killed session aborts its leases' },
    why: 'A holder whose znode has gone would go on until its next renewal.',
  },
  {
    id: 'zookeeper-validity-counted-from-the-reply',
    file: `${folder}/lock-keeping.ts`,
    find: "  return { synced: await live.ask.sync('/'), validity };",
    replace:
      "  return { synced: await live.ask.sync('/'), validity: { ...validity, since: instantOf(clock) } };",
    tests: { ...lockFaults, name: 'a renewal whose reply is late' },
    why: 'A slow reply would make a lease last longer than its session.',
  },
  {
    id: 'zookeeper-unrenewed-place-stays',
    file: `${folder}/lock-grants.ts`,
    find: '    onExpiry();\n',
    replace: '    void onExpiry;\n',
    tests: { ...lockContract, name: 'what a crashed node held goes to the next' },
    why: 'A lease that nobody renews would stand for as long as the session.',
  },
  {
    id: 'zookeeper-decides-without-the-fence-check',
    file: `${folder}/log-owner.ts`,
    find: 'live.ask.set(path, encodeHead(head), this.#stored.version)',
    replace: 'live.ask.set(path, encodeHead(head), -1)',
    tests: { ...logFaults, name: 'an owner that was fenced while it was paused' },
    why: 'A paused owner that wakes would commit what a recoverer has rolled back.',
  },
  {
    id: 'zookeeper-fence-forgets-decisions',
    file: `${folder}/log-recovery.ts`,
    find: 'return { ...head, fencedAtMs: nowMs,',
    replace: 'return { ...head, records: [], fencedAtMs: nowMs,',
    tests: { ...logContract, name: 'a fence undoes no decision' },
    why: 'Recovery would roll back branches of a committed transaction.',
  },
  {
    id: 'zookeeper-no-tombstone-for-the-unregistered',
    file: `${folder}/log-recovery.ts`,
    find: '    await createTombstone(store, incarnation, nowMs, signal);\n',
    replace: '    void createTombstone;\n    break;\n',
    tests: { ...logContract, name: 'an incarnation that was fenced before it registered' },
    why: 'A registration that comes late could decide what recovery took for aborted.',
  },
  {
    id: 'zookeeper-lost-decision-reply-is-not-looked-up',
    file: `${folder}/log-owner.ts`,
    find: "    const isRaced = written.kind === 'bad-version' || written.kind === 'no-node';\n    if (!isRaced && !isUnanswered(written))",
    replace:
      "    const isRaced = written.kind === 'bad-version' || written.kind === 'no-node';\n    if (!isRaced || !isUnanswered)",
    tests: { ...logFaults, name: 'a cut connection that loses the reply of a decision' },
    why: 'A decision that was recorded would be told as unknown although it could be known.',
  },
  {
    id: 'zookeeper-overflow-is-not-referred-to',
    file: `${folder}/log-overflow.ts`,
    find: 'segments: [...roomy.segments, referenceTo(name, moving)]',
    replace: 'segments: moving.length < 0 ? [referenceTo(name, moving)] : roomy.segments',
    tests: {
      project: 'integration',
      file: 'test/integration/zookeeper.test.ts',
      name: 'a head stays small',
    },
    why: 'Decisions that left a full head would count as aborted.',
  },
  {
    id: 'zookeeper-fenced-after-a-lost-write-is-believed',
    file: `${folder}/log-owner.ts`,
    find: 'const doubtful = this.#queue.filter(({ isSent }) => isSent);',
    replace: 'const doubtful = this.#queue.filter(() => false);',
    tests: { ...logFaults, name: 'finished and forgotten meanwhile' },
    why: 'A committed transaction whose record is gone would be called aborted.',
  },
];
