import { Command, CommanderError, Option } from 'commander';
import type { AddressFlags } from './addresses.js';
import { diagnose, textOf } from './diagnosis.js';
import { listLocks, locksJson, locksText } from './locks.js';
import { diagnosisText, exitCodeOf, withoutSecrets } from './report.js';
import { resolve } from './resolve.js';
import { setupText } from './setup.js';
import { type CommandSources, openSources } from './sources.js';

/** Where the program writes. */
export interface ProgramOutput {
  out(text: string): void;
  err(text: string): void;
}

interface DoctorFlags extends AddressFlags {
  readonly json?: boolean;
  readonly resolve?: readonly string[];
  readonly reason?: string;
  readonly audit: string;
}

interface LocksFlags extends AddressFlags {
  readonly json?: boolean;
  readonly prefix: string;
  readonly limit: string;
}

const LIMIT = '1000';
const AUDIT = 'tricord-audit.jsonl';

/**
 * Runs a command line and answers the exit code: 0 clean, 2 something is in doubt, 1 an error. What
 * it writes holds no password, whatever the messages of clients hold.
 */
export async function runProgram(
  args: readonly string[],
  output: ProgramOutput,
  version: string,
): Promise<number> {
  const safe: ProgramOutput = {
    out: (text) => output.out(withoutSecrets(text)),
    err: (text) => output.err(withoutSecrets(text)),
  };
  const state = { code: 0 };
  const program = programOf(safe, state, version);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return state.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 1;
    safe.err(`tricord: ${textOf(error)}\n`);
    return 1;
  }
}

function programOf(output: ProgramOutput, state: { code: number }, version: string): Command {
  const program = new Command('tricord')
    .description('Looks at the locks and transactions of a deployment, and helps them to an end.')
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: output.out, writeErr: output.err });
  withAddresses(
    program.command('doctor [module]').summary('show branches in doubt, and resolve one by hand'),
  )
    .description(
      'Shows every branch that is prepared or decided and not finished, with the one safe action.\n' +
        'Exit code: 0 clean, 2 in doubt, 1 error. It touches nothing without --resolve.',
    )
    .option('--log <kind>', 'which address holds the decisions: redis, zookeeper or postgres')
    .option('--liveness-ms <ms>', "the livenessTimeoutMs of the service's log, if it is not 10000")
    .option('--json', 'print JSON')
    .option('--resolve <gid...>', 'finish a transaction: --resolve <id> commit|abort')
    .option('--reason <text>', 'why; kept in the audit record')
    .option('--audit <file>', 'where the audit record is kept', AUDIT)
    .action(async (module: string | undefined, flags: DoctorFlags) => {
      state.code = await doctor(module, flags, output);
    });
  withAddresses(program.command('locks [module]').summary('list held locks and who waits'))
    .option('--prefix <text>', 'only resources that begin with it', '')
    .option('--limit <count>', 'so many resources at most', LIMIT)
    .option('--json', 'print JSON')
    .action(async (module: string | undefined, flags: LocksFlags) => {
      state.code = await locks(module, flags, output);
    });
  program
    .command('setup')
    .summary('print the SQL of every table that tricord needs')
    .requiredOption('--print', 'print it; tricord itself creates nothing')
    .addOption(new Option('--database <kind>', 'only one').choices(['postgres', 'mysql']))
    .option('--schema <name>', 'the schema in PostgreSQL')
    .action((flags) => output.out(setupText(flags)));
  return program;
}

function withAddresses(command: Command): Command {
  const collect = (value: string, before: readonly string[] = []): readonly string[] => [
    ...before,
    value,
  ];
  return command
    .exitOverride()
    .option('--redis <address>', '[name=]redis://…; named ones are participants', collect)
    .option('--postgres <address>', '[name=]postgres://…, a participant', collect)
    .option('--mysql <address>', '[name=]mysql://…, a participant', collect)
    .option('--zookeeper <servers>', 'host:port,host:port[/chroot]')
    .option('--namespace <name>', "the coordinator's, or the lock's");
}

async function doctor(
  module: string | undefined,
  flags: DoctorFlags,
  output: ProgramOutput,
): Promise<number> {
  return withSources(module, flags, async (sources) => {
    if (flags.resolve !== undefined && !(await resolveOne(sources, flags, output))) return 1;
    const diagnosis = await diagnose(sources);
    output.out(flags.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : diagnosisText(diagnosis));
    return exitCodeOf(diagnosis);
  });
}

async function resolveOne(
  sources: CommandSources,
  { resolve: wanted = [], reason, audit: auditPath }: DoctorFlags,
  { err }: ProgramOutput,
): Promise<boolean> {
  const [gid, verdict, ...rest] = wanted;
  if (gid === undefined || rest.length > 0 || (verdict !== 'commit' && verdict !== 'abort')) {
    err('tricord: pass --resolve <id> commit or --resolve <id> abort\n');
    return false;
  }
  if (reason === undefined || reason.trim() === '') {
    err('tricord: pass --reason "…" too: it is kept with what was done\n');
    return false;
  }
  const { isDone, lines } = await resolve(sources, { gid, verdict, reason, auditPath });
  for (const line of lines) err(`${line}\n`);
  return isDone;
}

async function locks(
  module: string | undefined,
  flags: LocksFlags,
  output: ProgramOutput,
): Promise<number> {
  return withSources(module, flags, async ({ locks: driver }) => {
    if (driver === undefined) {
      output.err('tricord: pass --redis or --zookeeper, or a module that exports locks\n');
      return 1;
    }
    const limit = Number(flags.limit);
    if (!Number.isSafeInteger(limit) || limit < 1) {
      output.err(`tricord: --limit ${flags.limit} is not a whole number above 0\n`);
      return 1;
    }
    const found = await listLocks(driver, { prefix: flags.prefix, limit });
    output.out(flags.json ? locksJson(found) : locksText(found));
    return 0;
  });
}

/** What was opened is let go, however the work ended. */
async function withSources(
  module: string | undefined,
  flags: AddressFlags,
  work: (sources: CommandSources) => Promise<number>,
): Promise<number> {
  const opened = await openSources(module, flags);
  const { namespace = opened.namespace } = flags;
  try {
    return await work({ ...opened, namespace });
  } finally {
    await opened.close?.();
  }
}
