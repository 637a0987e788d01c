import type { Mutant } from './mutant.js';

const redis = { project: 'integration', file: 'test/integration/redis-fence.test.ts' } as const;
const postgres = {
  project: 'integration',
  file: 'test/integration/postgres-fence.test.ts',
} as const;

export const mutants: readonly Mutant[] = [
  {
    id: 'fence-redis-accepts-older-tokens',
    file: 'src/drivers/redis/fence-script.ts',
    find: "if stored and (#stored ~= #token or stored > token) then return {'stale', stored} end",
    replace: '',
    tests: { ...redis, name: 'paused past its lease' },
    why: 'A paused holder would overwrite what its successor wrote.',
  },
  {
    id: 'fence-tokens-compare-as-texts',
    file: 'src/core/fencing-token.ts',
    find: "  return token.toString().padStart(FENCING_TOKEN_DIGITS, '0');",
    replace: '  return token.toString();',
    tests: { ...redis, name: 'tokens compare as numbers' },
    why: 'Token 10 would count as older than token 9.',
  },
  {
    id: 'fence-redis-check-advances',
    file: 'src/drivers/redis/fence-script.ts',
    find: "if ARGV[1] == 'check' then return {'ok'} end",
    replace: '',
    tests: { ...redis, name: 'advance fences without a value' },
    why: 'A look at a token would lock out the holder.',
  },
  {
    id: 'fence-redis-token-in-another-slot',
    file: 'src/drivers/redis/fence-keys.ts',
    find: '    const token = `${area}{${tag}}:${encodeTag(key)}`;',
    replace: '    const token = `${area}${encodeTag(key)}`;',
    tests: { ...redis, name: 'is in the slot of its value' },
    why: 'No write would pass on a cluster.',
  },
  {
    id: 'fence-postgres-takes-the-last-token',
    file: 'src/drivers/postgres/fence.ts',
    find: "    'on conflict (resource) do update set token = greatest(fence.token, excluded.token) ' +",
    replace: "    'on conflict (resource) do update set token = excluded.token ' +",
    tests: { ...postgres, name: 'paused past its lease' },
    why: 'A paused holder would commit over its successor.',
  },
  {
    id: 'fence-postgres-stale-token-passes',
    file: 'src/drivers/postgres/fence.ts',
    find: '      if (newest !== given) throw fenceStaleError(resource, given, newest);',
    replace: '      if (newest < given) throw fenceStaleError(resource, given, newest);',
    tests: { ...postgres, name: 'a token lower than the newest' },
    why: 'The check would never refuse.',
  },
];
