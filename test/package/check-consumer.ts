import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CONSUMER } from './consumer.js';
import { ENTRIES } from './entries.js';

const run = promisify(execFile);

/** The package in an empty project that has ioredis and nothing else. */
export async function checkConsumer(
  root: string,
  tarball: string,
  folder: string,
): Promise<string> {
  await mkdir(folder);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true }));
  const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'];
  const install = (what: string) => run('npm', ['install', what, ...quiet], { cwd: folder });
  await install(`ioredis@${devDependencies.ioredis}`);
  const before = await installedIn(folder);
  await install(tarball);
  const added = (await installedIn(folder)).filter((name) => !before.includes(name));
  if (added.sort().join(' ') !== 'tricord tslib') {
    throw new Error(`installing tricord added ${added.join(', ')}, not itself and tslib alone`);
  }
  await checkLoading(folder);
  await checkTypes(root, folder);
  await checkCommand(folder);
  return 'installs with tslib alone, imports, requires, type-checks, and its command runs';
}

async function installedIn(folder: string): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8'));
  const paths = Object.keys(lock.packages).filter((path) => path !== '');
  return paths.map((path) => path.replace(/^.*node_modules\//, ''));
}

/** Every entry point loads both ways and exports the same names; nothing is written to stderr. */
async function checkLoading(folder: string): Promise<void> {
  const names = JSON.stringify(ENTRIES.map(({ name }) => name));
  const tell = (load: string) => `(async () => {
    for (const name of ${names}) console.log(name, Object.keys(${load}).sort().join(' '));
  })();`;
  await writeFile(join(folder, 'load.mjs'), tell('await import(name)'));
  await writeFile(join(folder, 'load.cjs'), tell('require(name)'));
  const [esm, cjs] = await Promise.all(
    ['load.mjs', 'load.cjs'].map((file) => run(process.execPath, [file], { cwd: folder })),
  );
  if (esm?.stderr || cjs?.stderr) throw new Error(`loading warns: ${esm?.stderr}${cjs?.stderr}`);
  const ofModule = (text = '') => text.replaceAll(' __esModule', '').replaceAll(' default', '');
  if (ofModule(esm?.stdout) !== ofModule(cjs?.stdout)) {
    throw new Error(`import and require differ:\n${esm?.stdout}\n${cjs?.stdout}`);
  }
  const empty = esm?.stdout.split('\n').find((line) => /^\S+ ?$/.test(line));
  if (empty !== undefined) throw new Error(`${empty.trim()} exports nothing`);
}

/** The command runs with nothing but the package: on a module of the user's, and for the SQL. */
async function checkCommand(folder: string): Promise<void> {
  const command = join(folder, 'node_modules', '.bin', 'tricord');
  const module = `
    import { memoryParticipant, memoryTransactions } from 'tricord/memory';
    export const log = memoryTransactions();
    export const participants = [memoryParticipant({ name: 'stock' })];`;
  await writeFile(join(folder, 'shop.mjs'), module);
  const doctor = await run(command, ['doctor', 'shop.mjs'], { cwd: folder });
  if (!doctor.stdout.includes('0 branches in doubt')) throw new Error(doctor.stdout);
  const { stdout } = await run(command, ['setup', '--print'], { cwd: folder });
  if (!stdout.includes('create table if not exists')) throw new Error(stdout);
  const failed = await run(command, ['locks'], { cwd: folder }).catch((error) => error);
  if (failed.code !== 1) throw new Error(`tricord locks exits with ${failed.code}, not with 1`);
}

/** Checks the libraries too, with Node's types; and the program alone in a project without them. */
async function checkTypes(root: string, folder: string): Promise<void> {
  await writeFile(join(folder, 'consumer.mts'), CONSUMER);
  await writeFile(join(folder, 'consumer.cts'), CONSUMER);
  const strict = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noPropertyAccessFromIndexSignature: true,
    module: 'NodeNext',
    target: 'ES2023',
    noEmit: true,
  };
  const files = ['consumer.mts', 'consumer.cts'];
  const without = { ...strict, lib: ['ES2023', 'ESNext.Disposable', 'DOM'], types: [] };
  await typeCheck(root, folder, { compilerOptions: { ...without, skipLibCheck: true }, files });
  await mkdir(join(folder, 'node_modules', '@types'), { recursive: true });
  for (const name of ['@types/node', 'undici-types']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
  const lib = ['ES2023', 'ESNext.Disposable'];
  const withNode = { ...strict, lib, types: ['node'], skipLibCheck: false };
  await typeCheck(root, folder, { compilerOptions: withNode, files });
}

async function typeCheck(root: string, folder: string, config: object): Promise<void> {
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]);
}
