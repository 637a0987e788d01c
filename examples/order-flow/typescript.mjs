import { fileURLToPath } from 'node:url';

/**
 * Runs a TypeScript program of this folder in this process. It imports `tricord` as users do; the
 * mapping in examples/tsconfig.json leads to the sources, so that nothing need be built.
 *
 * @param {string} program
 */
export async function runTypescript(program) {
  const { register } = await import('tsx/esm/api');
  register({ tsconfig: fileURLToPath(new URL('../tsconfig.json', import.meta.url)) });
  await import(new URL(program, import.meta.url).href);
}
