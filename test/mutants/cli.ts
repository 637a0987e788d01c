import type { Mutant } from './mutant.js';

const doctor = (name: string) => ({
  project: 'integration' as const,
  file: 'test/integration/cli-doctor.test.ts',
  name,
});

const remoteDoctor = () => ({
  project: 'integration' as const,
  file: 'test/integration/cli-doctor-remote.test.ts',
});

/** A doctor that kills. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cli-aborts-what-was-decided',
    file: 'src/cli/resolve.ts',
    find: "if (record !== undefined) return 'the log has the decision to commit it';",
    replace: "if (record === null) return 'the log has the decision to commit it';",
    tests: doctor('what was decided is committed, and abort is refused'),
    why: 'an abort against the record mixes the outcome',
  },
  {
    id: 'cli-commits-without-a-decision',
    file: 'src/cli/resolve.ts',
    find: "if (record !== undefined || having('committed') !== '') return undefined;",
    replace: "if (record !== undefined || having('prepared') !== '') return undefined;",
    tests: doctor('a commit without a decision is refused'),
    why: 'without a record the coordinator may have told its caller that it aborted',
  },
  {
    id: 'cli-does-not-look-for-committed-branches',
    file: 'src/cli/resolve.ts',
    find: "filter(({ outcome }) => outcome === 'committed');",
    replace: "filter(({ outcome }) => outcome === 'prepared');",
    tests: doctor('a commit without a decision is refused'),
    why: 'a branch that was committed by hand decides what is whole',
  },
  {
    id: 'cli-resolves-beside-a-living-coordinator',
    file: 'src/cli/resolve.ts',
    find: "if (findings.states.get(incarnation) === 'live') {",
    replace: "if (findings.states.get(incarnation) === 'fenced') {",
    tests: doctor('a branch of a coordinator that lives waits for it'),
    why: 'a living coordinator decides itself',
  },
  {
    id: 'cli-touches-other-namespaces',
    file: 'src/cli/resolve.ts',
    find: 'if (origin.namespace !== namespace) {',
    replace: 'if (origin.namespace === "") {',
    tests: doctor('a branch of another namespace is shown, and left alone'),
    why: 'a log of one namespace knows nothing of the records of another',
  },
  {
    id: 'cli-prints-passwords',
    file: 'src/cli/report.ts',
    find: "'$1***@')",
    replace: "'$&')",
    tests: {
      project: 'integration',
      file: 'test/integration/cli.test.ts',
      name: 'what is printed holds no password',
    },
    why: 'messages of clients hold addresses',
  },
  {
    id: 'cli-clean-although-something-waits',
    file: 'src/cli/report.ts',
    find: 'if (branches.some(({ isInDoubt }) => isInDoubt)) return 2;',
    replace: 'if (branches.some(({ isInDoubt }) => !isInDoubt)) return 2;',
    tests: doctor('what was decided is committed, and abort is refused'),
    why: 'scripts look at the exit code alone',
  },
  {
    id: 'cli-lists-locks-of-another-namespace',
    file: 'src/cli/addresses.ts',
    find: '    const place = namespace === undefined ? {} : { namespace };',
    replace: "    const place = namespace === undefined ? { namespace: 'default' } : {};",
    tests: {
      project: 'integration',
      file: 'test/integration/cli-zookeeper.test.ts',
      name: 'lists who holds a lock',
    },
    why: 'The operator would see no lock, and believe it.',
  },
  {
    id: 'cli-commits-an-attempt-that-was-taken-over',
    file: 'src/cli/diagnosis.ts',
    find: "return isRemote && !isNamed ? 'none' : 'commit';",
    replace: "return isRemote && isNamed ? 'commit' : 'commit';",
    tests: remoteDoctor(),
    why: 'the work of a call is done twice',
  },
  {
    id: 'cli-acknowledges-for-a-service',
    file: 'src/cli/resolve.ts',
    find: "if (verb === 'commit' && record !== undefined && !isRemote) {",
    replace: "if (verb === 'commit' && record !== undefined) {",
    tests: remoteDoctor(),
    why: 'a service that still has the call finds no decision, and takes that for an abort',
  },
];
