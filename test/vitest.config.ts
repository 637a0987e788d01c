import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { CountingReporter } from './servers/counting-reporter.js';

const source = (entry: string) => fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url));
const alias = [
  { find: /^tricord$/, replacement: source('index') },
  { find: /^tricord\/(\w+)$/, replacement: source('$1') },
];
const TIMEOUTS = { testTimeout: 20_000, hookTimeout: 60_000 };
// Processes that a test starts with tsx find `tricord` in the sources too, not in an earlier build.
const env = { TSX_TSCONFIG_PATH: fileURLToPath(new URL('tsconfig.json', import.meta.url)) };
const SERVERS = { globalSetup: ['test/servers/global-setup.ts'] };

// Groups run one after another: fault suites measure times, so nothing else runs beside them.
const project = (name: string, groupOrder: number, options: object = {}) => ({
  resolve: { alias },
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    sequence: { groupOrder },
    maxWorkers: 2,
    env,
    ...TIMEOUTS,
    ...options,
  },
});

export default defineConfig({
  test: {
    reporters: ['default', new CountingReporter()],
    projects: [
      project('unit', 0),
      project('contract', 1, SERVERS),
      project('integration', 1, SERVERS),
      project('fault', 2, { ...SERVERS, maxWorkers: 1, testTimeout: 60_000 }),
      project('types', 3, {
        include: [],
        typecheck: {
          enabled: true,
          only: true,
          include: ['test/types/**/*.test-d.ts'],
          tsconfig: 'test/tsconfig.json',
          // `npm run typecheck` looks at everything else.
          ignoreSourceErrors: true,
        },
      }),
    ],
  },
});
