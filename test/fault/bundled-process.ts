// Programs that a suite starts again and again, as one file of plain JavaScript, so that not every
// start compiles the sources anew.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url));

/** A bundle, which goes with the suite. */
export interface BundledProcess extends AsyncDisposable {
  readonly path: string;
}

/** Bundles a program of TypeScript; packages stay outside, found from where the bundle lies. */
export async function bundledProcess(source: string): Promise<BundledProcess> {
  const cache = join(MODULES, '.cache');
  await mkdir(cache, { recursive: true });
  const outDir = await mkdtemp(join(cache, 'tricord-process-'));
  await build({
    entry: [source],
    outDir,
    format: 'esm',
    target: 'node20',
    config: false,
    silent: true,
    splitting: false,
    skipNodeModulesBundle: true,
    outExtension: () => ({ js: '.mjs' }),
  });
  return {
    path: join(outDir, basename(source).replace(/\.ts$/, '.mjs')),
    [Symbol.asyncDispose]: () => rm(outDir, { recursive: true, force: true }),
  };
}
