import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defineConfig, type Options } from 'tsup';
import ts from 'typescript';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/** Lets TypeScript emit the JavaScript, because esbuild ignores `importHelpers` and inlines helpers. */
const typescriptEmit: Plugin = {
  name: 'typescript-emit',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => ({
      loader: 'js',
      contents: ts.transpileModule(await readFile(path, 'utf8'), {
        fileName: path,
        compilerOptions: {
          target: ts.ScriptTarget.ES2023,
          module: ts.ModuleKind.ESNext,
          importHelpers: true,
          verbatimModuleSyntax: true,
          inlineSourceMap: true,
          inlineSources: true,
        },
      }).outputText,
    }));
  },
};

const PACKAGE_FOLDER = /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;

/** The command line's libraries are bundled, and their licences go with them. */
const licences: Plugin = {
  name: 'licences',
  setup(build) {
    build.initialOptions.metafile = true;
    build.onEnd(async ({ metafile }) => {
      const inputs = Object.keys(metafile?.inputs ?? {});
      const folders = new Set(inputs.flatMap((path) => PACKAGE_FOLDER.exec(path)?.[0] ?? []));
      const texts = await Promise.all([...folders].sort().map(licenceOf));
      const head = 'The command `tricord` holds these packages, under their own licences.\n';
      await mkdir('dist/cli', { recursive: true });
      await writeFile('dist/cli/LICENSES.md', [head, ...texts].join('\n'));
    });
  },
};

async function licenceOf(folder: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
  if (file === undefined) throw new Error(`${name} has no licence file to ship`);
  return `## ${name} ${version}\n\n${(await readFile(join(folder, file), 'utf8')).trim()}\n`;
}

const SHARED: Options = {
  format: 'esm',
  target: 'es2023',
  platform: 'node',
  removeNodeProtocol: false,
  sourcemap: true,
  treeshake: false,
  external: ['tslib', 'zookeeper', 'ioredis', 'pg', 'mysql2'],
};

export default defineConfig([
  {
    ...SHARED,
    entry: [
      'memory',
      'redis',
      'zookeeper',
      'postgres',
      'mysql',
      'memcached',
      'testing',
      'index',
    ].map((e) => `src/${e}.ts`),
    // The other build, beside this one, cleans its own folder.
    clean: ['!cli/**'],
    splitting: true,
    dts: {
      compilerOptions: {
        ignoreDeprecations: '6.0',
        declaration: true,
        noEmit: false,
      },
    },
    esbuildPlugins: [typescriptEmit],
  },
  {
    ...SHARED,
    entry: ['src/cli/main.ts'],
    outDir: 'dist/cli',
    clean: true,
    splitting: false,
    noExternal: ['commander', 'cli-table3'],
    // What is bundled is CommonJS in part, and asks for modules of Node by `require`.
    banner: {
      js: "import { createRequire as createNodeRequire } from 'node:module';\nconst require = createNodeRequire(import.meta.url);",
    },
    esbuildPlugins: [typescriptEmit, licences],
  },
]);
