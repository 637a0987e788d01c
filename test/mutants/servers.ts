import type { Mutant } from './mutant.js';

const tests = { project: 'unit', file: 'test/unit/servers/proxy.test.ts' } as const;

/** Faults of the tests' own tools: a proxy that breaks nothing would let every driver pass. */
export const mutants: readonly Mutant[] = [
  {
    id: 'servers-proxy-replies-not-dropped',
    file: 'test/servers/proxy.ts',
    find: 'this.#behaviour.isDroppingReplies = true;',
    replace: 'this.#behaviour.isDroppingReplies = false;',
    tests: { ...tests, name: 'swallows' },
    why: 'Tests of lost replies would see every reply.',
  },
  {
    id: 'servers-proxy-freezes-nothing',
    file: 'test/servers/proxy.ts',
    find: 'this.#behaviour.frozen.add(each);',
    replace: 'this.#behaviour.frozen.delete(each);',
    tests: { ...tests, name: 'freeze' },
    why: 'Tests of partitions would run on a whole network.',
  },
  {
    id: 'servers-proxy-cuts-too-early',
    file: 'test/servers/proxy-link.ts',
    find: 'if (trap.remaining > 0) continue;',
    replace: '',
    tests: { ...tests, name: 'nth match' },
    why: 'The reply of another request than the named one would be lost.',
  },
  {
    id: 'servers-proxy-ends-in-order',
    file: 'test/servers/proxy-link.ts',
    find: 'this.#client.resetAndDestroy();',
    replace: 'this.#client.destroy();',
    tests: { ...tests, name: 'resets open connections' },
    why: 'A cut connection would look like one that the server closed.',
  },
  {
    id: 'servers-proxy-misses-split-requests',
    file: 'test/servers/proxy-link.ts',
    find: 'const overlap = Math.min(sent.length, pattern.length - 1);',
    replace: 'const overlap = Math.min(sent.length, 0);',
    tests: { ...tests, name: 'span two chunks' },
    why: 'A lost reply would be simulated only while requests fit one packet.',
  },
];
