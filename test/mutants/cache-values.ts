import type { Mutant } from './mutant.js';

const codecs = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/codecs.test.ts', name }) as const;
const isolation = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/isolation.test.ts', name }) as const;
const servers = (name: string) =>
  ({ project: 'integration', file: 'test/integration/cache-codecs.test.ts', name }) as const;

/** Faults of how values are encoded, and kept apart from their writers and readers. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-codec-id-is-not-compared',
    file: 'src/cache/envelope.ts',
    find: "if (found !== id || (head.b === 1) !== (form === 'bytes')) throw ofOther(found);",
    replace: 'if (found === undefined) throw ofOther(found);',
    tests: codecs('takes an entry of .* for a miss'),
    why: 'After a change of the codec readers get nonsense.',
  },
  {
    id: 'cache-decoded-text-is-not-compared',
    file: 'src/cache/decoded.ts',
    find: 'return known.text === text ? known.local : undefined;',
    replace: 'return known.local;',
    tests: {
      project: 'unit',
      file: 'test/unit/cache/decoded.test.ts',
      name: 'until another one stands there',
    },
    why: 'A value that was read once is answered for ever.',
  },
  {
    id: 'cache-codec-tags-are-not-escaped',
    file: 'src/cache/envelope.ts',
    find: '`${BEGINNING}"${id}",${ascii(JSON.stringify(head))}]\\n${content}`',
    replace: '`${BEGINNING}"${id}",${JSON.stringify(head)}]\\n${content}`',
    tests: servers('every byte comes back'),
    why: 'A tag of other than Latin-1 letters stands in the entry as another one.',
  },
  {
    id: 'cache-codec-shares-what-it-cannot-freeze',
    file: 'src/cache/values.ts',
    find: "if (isolation === 'frozen' && frozenWhole(first))",
    replace: "if (isolation === 'frozen' && (frozenWhole(first) || true))",
    tests: codecs('lets nobody change what is cached'),
    why: 'A reader changes the cache for all others.',
  },
  {
    id: 'cache-codec-hands-its-first-value-to-everybody',
    file: 'src/cache/values.ts',
    find: '      unused = undefined;\n',
    replace: '',
    tests: codecs('lets nobody change what is cached'),
    why: 'All readers share one object with a Date, Map or Set.',
  },
  {
    id: 'cache-decompression-is-not-bounded',
    file: 'src/cache/codec-compressed.ts',
    find: 'used.decompress(content, { maxOutputLength: bytesMax })',
    replace: 'used.decompress(content, { maxOutputLength: 2 ** 30 })',
    tests: codecs('grow beyond bytesMax'),
    why: 'A small entry takes all memory of whoever reads it.',
  },
  {
    id: 'cache-v8-takes-instances-of-classes',
    file: 'src/cache/codec-v8.ts',
    find: 'if (!isKnown(value)) throw notEncodable(path, typeName(value));',
    replace: '',
    tests: codecs('v8, a class'),
    why: 'An instance comes back as a plain object without its methods.',
  },
  {
    id: 'cache-unreadable-entry-is-not-told',
    file: 'src/cache/authority-reads.ts',
    find: '    counter.unreadableCount += 1;\n',
    replace: '',
    tests: codecs('takes an entry of .* for a miss'),
    why: 'A deployment with another codec looks like a cold cache.',
  },
  {
    id: 'cache-redis-reads-bytes-as-text',
    file: 'src/drivers/redis/cache-bytes.ts',
    find: "if (encoding === 'utf8') {",
    replace: 'if (encoding !== undefined) {',
    tests: servers('redisCache.*take no more room'),
    why: 'Bytes stand as UTF-8 and take half as much room again.',
  },
  {
    id: 'cache-memcached-counts-characters-for-bytes',
    file: 'src/drivers/memcached/connection.ts',
    find: 'if (isOpen) socket.write(text, encoding);',
    replace: 'if (isOpen) socket.write(text);',
    tests: servers('memcachedCache.*every byte'),
    why: 'The server takes the rest of a value for a command.',
  },
  {
    id: 'cache-zookeeper-reads-bytes-as-text',
    file: 'src/drivers/zookeeper/cache-data.ts',
    find: 'const text = data.toString(encoding);',
    replace: "const text = data.toString('utf8');",
    tests: servers('zookeeperCache.*every byte'),
    why: 'Bytes come back as other ones.',
  },
  {
    id: 'cache-isolation-none-encodes-late',
    file: 'src/cache/values.ts',
    find: 'isShareable: true, encoded: contentOf(own) };',
    replace: 'isShareable: true };',
    tests: isolation('changes its value after it gave it'),
    why: 'Other nodes read a value that was never complete.',
  },
  {
    id: 'cache-isolation-cloned-hands-out-its-own-copy',
    file: 'src/cache/values.ts',
    find: 'return isObject ? { ...local, isShareable: false, copy: thawed } : local;',
    replace: 'return local;',
    tests: isolation('cloned'),
    why: 'A reader that may change its copy gets a frozen one.',
  },
  {
    id: 'cache-isolation-clones-frozen',
    file: 'src/cache/isolation.ts',
    find: "return copyOf(newWalk('', false), value);",
    replace: "return copyOf(newWalk('', true), value);",
    tests: isolation('cloned'),
    why: 'A reader that may change its copy gets a frozen one.',
  },
  {
    id: 'cache-decoded-outlives-clear',
    file: 'src/cache/authority.ts',
    find: "      form.forget?.();\n      await demand('clear'",
    replace: "      await demand('clear'",
    tests: { project: 'unit', file: 'test/unit/cache/decoded.test.ts', name: 'before its clear' },
    why: 'What was cleared stays in the memory of the process that cleared it.',
  },
];
