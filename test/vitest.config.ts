import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (entry: string) => fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url));
const alias = [
  { find: /^tricord$/, replacement: source('index') },
  { find: /^tricord\/(\w+)$/, replacement: source('$1') },
];

const project = (name: string) => ({
  resolve: { alias },
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: 20_000, hookTimeout: 60_000 },
});

export default defineConfig({
  test: { projects: ['unit', 'contract', 'integration', 'fault'].map(project) },
});
