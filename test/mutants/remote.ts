import type { Mutant } from './mutant.js';

const machine = () => ({
  project: 'unit' as const,
  file: 'test/unit/transaction/remote/call-machine.test.ts',
});
const unit = (file: string, name: string) => ({
  project: 'unit' as const,
  file: `test/unit/transaction/remote/${file}.test.ts`,
  name,
});

/** Faults in the machines and engines of remote participants. */
export const mutants: readonly Mutant[] = [
  {
    id: 'remote-late-vote-counts',
    file: 'src/transaction/remote/call-record.ts',
    find: "return state === 'claimed' && server === by.server && attempt === by.attempt;",
    replace: "return state !== 'voted' && by.attempt <= attempt;",
    tests: machine(),
    why: 'A node that was taken for dead votes for a call that another one does, or that has ended.',
  },
  {
    id: 'remote-attempt-not-counted',
    file: 'src/transaction/remote/call-record.ts',
    find: "state: 'claimed', server, attempt: record.attempt + 1 };",
    replace: "state: 'claimed', server, attempt: Math.max(record.attempt, 1) };",
    tests: machine(),
    why: 'Two nodes work under one branch id, and a vote of the first counts for the second.',
  },
  {
    id: 'remote-gives-up-after-its-vote',
    file: 'src/transaction/remote/serve-machine.ts',
    find: "return phase === 'working' || phase === 'preparing';",
    replace: "return phase === 'working' || phase === 'preparing' || phase === 'voting';",
    tests: machine(),
    why: 'A server rolls back while its yes is on its way, and the caller commits the rest.',
  },
  {
    id: 'remote-decides-alone-after-yes',
    file: 'src/transaction/remote/serve-machine.ts',
    find: "return phase === 'working' || phase === 'preparing';",
    replace: "return phase === 'working' || phase === 'preparing' || phase === 'prepared';",
    tests: machine(),
    why: 'A server whose patience ends rolls back what was decided to commit.',
  },
  {
    id: 'remote-decision-without-fence',
    file: 'src/transaction/remote/serve-decision.ts',
    find: '        await host.session.fence(incarnation, { signal });\n',
    replace: '        void incarnation;\n',
    tests: unit('serve', 'fenced before the absence'),
    why: 'A caller that was only slow commits what its server has rolled back.',
  },
  {
    id: 'remote-acknowledges-what-it-could-not-apply',
    file: 'src/transaction/remote/serve-machine.ts',
    find: "answer === 'done' ? [{ type: 'let-go' }] : []];",
    replace: "answer !== undefined ? [{ type: 'let-go' }] : []];",
    tests: machine(),
    why: 'The commit record is forgotten while a branch still waits for it.',
  },
  {
    id: 'remote-earlier-attempt-left-prepared',
    file: 'src/transaction/remote/serve-rounds.ts',
    find: '    await abortEarlier(host, claimed, stopped);\n',
    replace: '    void abortEarlier;\n',
    tests: unit('serve', 'rolled back by the node that takes over'),
    why: 'Row locks of a dead attempt stay until somebody fences a caller that is well.',
  },
  {
    id: 'remote-concurrency-off-by-one',
    file: 'src/transaction/remote/serve-rounds.ts',
    find: 'runningCount < settings.concurrency',
    replace: 'runningCount <= settings.concurrency',
    tests: unit('serve', 'concurrency'),
    why: 'A service takes more work than its pool has connections.',
  },
  {
    id: 'remote-reason-with-credentials',
    file: 'src/transaction/remote/served-call.ts',
    find: ".replace(CREDENTIALS, '//…@')",
    replace: '.trim()',
    tests: unit('serve', 'credentials'),
    why: "A database's password travels to another service, and into its logs.",
  },
  {
    id: 'remote-closing-node-keeps-its-calls',
    file: 'src/transaction/remote/served-call.ts',
    find: "    if (stands.state !== 'claimed') return;\n",
    replace: "    if (stands.state === 'claimed') return;\n",
    tests: unit('serve', 'gives back'),
    why: 'Every deployment costs the calls under way their whole time-out.',
  },
  {
    id: 'remote-no-vote-does-not-abort',
    file: 'src/transaction/remote/remote-calls.ts',
    find: "    if (!facts.signal.aborted) {\n      facts.giveUp({ by: 'participant'",
    replace: "    if (facts.signal.aborted) {\n      facts.giveUp({ by: 'participant'",
    tests: unit('call', 'throws aborts the whole transaction'),
    why: 'A body that catches the error of a call goes on for the rest of its time.',
  },
  {
    id: 'remote-handler-outside-its-span',
    file: 'src/transaction/remote/served-call.ts',
    find: '      () => worked(serving),',
    replace: '      async () => {},',
    tests: unit('tracing', 'a handler runs inside its span'),
    why: "A tracer's span says nothing of what the handler did.",
  },
];
