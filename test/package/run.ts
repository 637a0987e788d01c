// npm run check:package: what users will download, looked at as they will meet it.
//
// Packs the built package, lints the tarball (publint, attw), weighs every entry point, follows
// what each loads, and installs it beside ioredis alone in an empty project, which imports it,
// requires it and type-checks against it. Prints a line a check; exits with 1 at the first failure.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkConsumer } from './check-consumer.js';
import { checkModules } from './check-modules.js';
import { checkSizes } from './check-sizes.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'tricord-package-'));
const bin = (name: string) => join(root, 'node_modules', '.bin', name);

try {
  const tarball = await pack();
  await check('publint', async () => {
    await run(bin('publint'), ['run', tarball, '--strict'], { cwd: root });
    return 'no suggestion';
  });
  await check('attw', async () => {
    await run(bin('attw'), [tarball, '--profile', 'esm-only'], { cwd: root });
    return 'types resolve for ES modules, for require() and for bundlers';
  });
  await check('what is loaded', () => checkModules(join(root, 'dist')));
  await check('size', () => checkSizes(join(root, 'dist')));
  await check('an empty project', () => checkConsumer(root, tarball, join(folder, 'consumer')));
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Makes the tarball; what is in it is checked first. */
async function pack(): Promise<string> {
  let tarball = '';
  await check('contents', async () => {
    const { stdout } = await run(
      'npm',
      ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
      { cwd: root },
    );
    const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
    if (packed === undefined) throw new Error('npm pack made nothing');
    tarball = join(folder, packed.filename);
    const files = packed.files.map((file) => file.path);
    const others = files.filter((file) => !/^(dist\/|package\.json$|[A-Z]+(\.md)?$)/.test(file));
    if (others.length > 0) throw new Error(`the package has ${others.join(', ')}`);
    for (const needed of await neededFiles()) {
      if (!files.includes(needed)) throw new Error(`the package lacks ${needed}`);
    }
    return `${files.length} files`;
  });
  return tarball;
}

async function neededFiles(): Promise<string[]> {
  const { exports, bin: binaries } = JSON.parse(
    await readFile(join(root, 'package.json'), 'utf8'),
  ) as {
    exports: Record<string, string | Record<string, string>>;
    bin: Record<string, string>;
  };
  const targets = Object.values(exports).flatMap((target) =>
    typeof target === 'string' ? [target] : Object.values(target),
  );
  const others = ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/cli/LICENSES.md'];
  return [...targets.map((target) => target.slice(2)), ...Object.values(binaries), ...others];
}

async function check(name: string, body: () => Promise<string>): Promise<void> {
  try {
    process.stdout.write(`ok      ${name}: ${await body()}\n`);
  } catch (error) {
    const { message, stdout = '', stderr = '' } = error as Error & Record<string, string>;
    process.stdout.write(`FAILED  ${name}: ${message}\n${stdout}${stderr}`);
    await rm(folder, { recursive: true, force: true });
    process.exit(1);
  }
}
