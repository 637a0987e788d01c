import { join } from 'node:path';
import { ENTRIES } from './entries.js';
import { type BuiltModule, closureOf } from './modules.js';

/**
 * Every entry point loads what it says and nothing else: no client package, no other driver, helpers
 * from tslib, and nothing that waits while it loads.
 */
export async function checkModules(dist: string): Promise<string> {
  let usesHelpers = false;
  for (const { name, file, drivers } of ENTRIES) {
    for (const module of await closureOf(join(dist, `${file}.js`))) {
      checkModule(name, module, drivers);
      usesHelpers ||= module.imports.includes('tslib');
    }
  }
  if (!usesHelpers) throw new Error('no module imports tslib, which is a dependency');
  return 'helpers from tslib, own drivers only, no client package, no top-level await';
}

function checkModule(entry: string, module: BuiltModule, drivers: readonly string[]): void {
  const fail = (fact: string) => {
    throw new Error(`${entry} loads ${module.path}, which ${fact}`);
  };
  for (const specifier of module.imports) {
    if (!/^(\.|node:|tslib$)/.test(specifier)) fail(`imports ${specifier}`);
  }
  for (const specifier of module.dynamicImports) {
    const isZookeeper = specifier === 'zookeeper' && drivers.includes('zookeeper');
    if (!/^(\.|node:)/.test(specifier) && !isZookeeper) fail(`imports ${specifier} while it runs`);
  }
  if (module.hasTopLevelAwait) fail('waits at its top level: require() of it would throw');
  for (const source of module.sources) {
    const driver = /src\/drivers\/(\w+)\//.exec(source)?.[1];
    if (driver !== undefined && !drivers.includes(driver)) fail(`holds ${source}`);
  }
}
