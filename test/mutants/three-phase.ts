import type { Mutant } from './mutant.js';

const machine = (name: string) => ({
  project: 'unit' as const,
  file: 'test/unit/transaction/three-phase.test.ts',
  name,
});
const sites = (name: string) => ({
  project: 'unit' as const,
  file: 'test/unit/transaction/three-phase-site.test.ts',
  name,
});
const run = (name: string) => ({
  project: 'unit' as const,
  file: 'test/unit/transaction/three-phase-run.test.ts',
  name,
});
const THREE = '3 sites, ballots up to 4';

/** Faults in three-phase commit: the machine, the sites, and the coordinator's part. */
export const mutants: readonly Mutant[] = [
  {
    id: 'three-phase-half-is-a-quorum',
    file: 'src/transaction/three-phase/termination.ts',
    find: 'heard.length > siteCount / 2,',
    replace: 'heard.length >= siteCount / 2,',
    tests: machine('4 sites, ballots up to 2'),
    why: 'Of four sites each half of a partition decides by itself.',
  },
  {
    id: 'three-phase-any-pre-commit-wins',
    file: 'src/transaction/three-phase/termination.ts',
    find: "({ state, lastAttempt }) => lastAttempt === latest && state === 'PC',",
    replace: "({ state, lastAttempt }) => lastAttempt <= latest && state === 'PC',",
    tests: machine(THREE),
    why: 'A pre-commit that a later leader had already overruled is taken up again.',
  },
  {
    id: 'three-phase-stale-leader-is-heeded',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: 'if (ballot >= state.lastElected) return undefined;',
    replace: 'if (ballot >= state.lastAttempt) return undefined;',
    tests: machine('with refusals'),
    why: 'A site that joined a higher ballot helps an older leader to decide the other way.',
  },
  {
    id: 'three-phase-textbook-time-out',
    file: 'src/transaction/three-phase/termination.ts',
    find: `export const quorumTermination: TerminationRules = {
  onSilence: () => 'elect',`,
    replace: `export const quorumTermination: TerminationRules = {
  onSilence: ({ state }) => (state === 'PC' ? 'commit' : 'abort'),`,
    tests: machine(THREE),
    why: 'A site decides alone after its yes: the rule of most tutorials.',
  },
  {
    id: 'three-phase-election-is-not-written',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: 'return [join(state, ballot), [SAVE, report]];',
    replace: 'return [join(state, ballot), [report]];',
    tests: machine(THREE),
    why: 'After a restart a site has forgotten which leader it promised to follow.',
  },
  {
    id: 'three-phase-pre-commit-is-not-written',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: 'lastAttempt: ballot }, [SAVE, ack]];',
    replace: 'lastAttempt: ballot }, [ack]];',
    tests: machine(THREE),
    why: 'A majority acknowledged the pre-commit, restarts, and aborts what was committed.',
  },
  {
    id: 'three-phase-yes-is-not-written',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: 'if (!isLeading) return [waiting, [SAVE, voteTo(true)]];',
    replace: 'if (!isLeading) return [waiting, [voteTo(true)]];',
    tests: machine(THREE),
    why: 'A site that voted yes aborts by itself after a restart.',
  },
  {
    id: 'three-phase-commits-without-all-votes',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: 'if (leading.yes.length < state.siteCount) return [next, []];',
    replace: 'if (leading.yes.length < state.siteCount - 1) return [next, []];',
    tests: machine(THREE),
    why: 'A transaction commits although a site was about to vote no.',
  },
  {
    id: 'three-phase-votes-yes-after-its-abort',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: "return [state, [voteTo(state.state !== 'A')]];",
    replace: 'return [state, [voteTo(true)]];',
    tests: machine(THREE),
    why: 'A site that aborted alone says yes to a coordinator that asks again.',
  },
  {
    id: 'three-phase-forgets-too-early',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: 'if (next.done.length < state.siteCount || !isDecided(state.state)) return [next, []];',
    replace:
      'if (next.done.length < state.siteCount - 1 || !isDecided(state.state)) return [next, []];',
    tests: sites('after \\d+ letters|storms'),
    why: 'A site that was away finds nobody who knows the decision, and waits for ever.',
  },
  {
    id: 'three-phase-ballots-coincide',
    file: 'src/transaction/three-phase/site-state.ts',
    find: 'return round * siteCount + self + 1;',
    replace: 'return round * siteCount + 2;',
    tests: machine('leaving out letters'),
    why: 'Two leaders of one ballot attempt different things.',
  },
  {
    id: 'three-phase-gives-up-after-the-attempt',
    file: 'src/transaction/three-phase/three-phase.ts',
    find: "(state.state === 'W' && state.lead?.phase === 'votes');",
    replace: '(state.self === 0 && state.lead !== undefined);',
    tests: machine(THREE),
    why: 'A coordinator whose time is up aborts what the others go on to commit.',
  },
  {
    id: 'three-phase-authority-of-the-log',
    file: 'src/transaction/run-transaction.ts',
    find: 'const newId = isBySites ? life.newSitesId : life.newId;',
    replace: 'const newId = isBySites ? life.newId : life.newId;',
    tests: run('is left alone by the recovery'),
    why: 'Recovery of two-phase commit presumes the abort of what the sites committed.',
  },
  {
    id: 'three-phase-own-no-is-a-yes',
    file: 'src/transaction/three-phase/sites-protocol.ts',
    find: "  if (sited.cause !== undefined) return { vote: 'no', reason: sited.cause.reason };\n",
    replace: '',
    tests: run('when its own resource votes no'),
    why: 'A resource of the coordinator refused, and everybody else commits.',
  },
  {
    id: 'three-phase-minority-of-sites',
    file: 'src/transaction/three-phase/sites-protocol.ts',
    find: 'const SITES_MIN = 3;',
    replace: 'const SITES_MIN = 2;',
    tests: run('fewer than three sites'),
    why: 'Two sites pretend not to block, and each waits for the other.',
  },
];
