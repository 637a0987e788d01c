import { readFile } from 'node:fs/promises';
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

export default defineConfig({
  entry: ['memory', 'redis', 'zookeeper', 'postgres', 'mysql', 'memcached', 'testing', 'index'].map(
    (e) => `src/${e}.ts`,
  ),
  format: 'esm',
  target: 'es2023',
  platform: 'node',
  removeNodeProtocol: false,
  sourcemap: true,
  clean: true,
  splitting: true,
  treeshake: false,
  dts: {
    compilerOptions: {
      ignoreDeprecations: '6.0',
      declaration: true,
      noEmit: false,
    },
  },
  external: ['tslib', 'zookeeper', 'ioredis', 'pg', 'mysql2'],
  esbuildPlugins: [typescriptEmit],
});
