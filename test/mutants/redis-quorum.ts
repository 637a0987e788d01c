import type { Mutant } from './mutant.js';

const QUORUM = 'src/drivers/redis/quorum';
const MODEL = { project: 'unit', file: 'test/unit/redis-quorum-model.test.ts' } as const;
const UNIT = { project: 'unit', file: 'test/unit/redis-quorum.test.ts' } as const;
const SCRIPTS = { project: 'integration', file: 'test/integration/redis-quorum.test.ts' } as const;
const FAULT = { project: 'fault', file: 'test/fault/redis-quorum.test.ts' } as const;
const SENTINEL = { project: 'fault', file: 'test/fault/redis-sentinel.test.ts' } as const;
const CONTRACT = { project: 'contract', file: 'test/contract/lock-redis-quorum.test.ts' } as const;

export const mutants: readonly Mutant[] = [
  {
    id: 'redis-quorum-half-is-a-majority',
    file: `${QUORUM}/rules.ts`,
    find: 'return Math.floor(nodeCount / 2) + 1;',
    replace: 'return Math.floor(nodeCount / 2);',
    tests: { ...MODEL, name: 'three clients that lose a reply' },
    why: 'Two halves would hold one lock.',
  },
  {
    id: 'redis-quorum-token-not-above-the-newest',
    file: `${QUORUM}/rules.ts`,
    find: "return { state: 'won', token: newest + 1n };",
    replace: "return { state: 'won', token: newest };",
    tests: { ...UNIT, name: 'the token is one more than the newest' },
    why: 'Two grants would carry one token, and a fence could not tell them apart.',
  },
  {
    id: 'redis-quorum-blank-nodes-read-once',
    file: `${QUORUM}/rules.ts`,
    find: "return now?.kind === 'blank' && before?.kind === 'blank' && now.nonce === before.nonce;",
    replace: "return now?.kind === 'blank' && before?.kind === 'blank';",
    tests: { ...MODEL, name: 'blank nodes begin at once only if' },
    why: 'A node that lost its state between the readings would vote at once.',
  },
  {
    id: 'redis-quorum-write-back-without-the-vote',
    file: `${QUORUM}/write-back.ts`,
    find: "if not h or h.id ~= id or ends(h) <= now then return 'L' end",
    replace:
      "if not h then h = { id = id, round = 0, at = now, ttl = 1, delay = 0, since = now, incarnation = '', owner = '' } end",
    tests: { ...SCRIPTS, name: 'a write-back is refused' },
    why: 'A client that was overtaken would count this node, and two grants get one token.',
  },
  {
    id: 'redis-quorum-restarted-node-votes',
    file: `${QUORUM}/state.ts`,
    find: "if state == 'i' then return nil, run end",
    replace: "if state ~= 'x' then return nil, run end",
    tests: { ...FAULT, name: 'a node that restarts empty stays out' },
    why: 'A node that forgot a vote would give it again while somebody relies on it.',
  },
  {
    id: 'redis-quorum-marker-without-run-id',
    file: `${QUORUM}/state.ts`,
    find: 'if known ~= run then',
    replace: 'if not known then',
    tests: { ...FAULT, name: 'a marker that an RDB brought back' },
    why: 'A restore brings the marker back with an old state, and the node would vote at once.',
  },
  {
    id: 'redis-quorum-vote-sent-again-begins-anew',
    file: `${QUORUM}/vote.ts`,
    find: '  h.round = math.max(h.round, round)\n',
    replace: '  h.round = math.max(h.round, round)\n  h.at = now + 1\n',
    tests: { ...SCRIPTS, name: 'a vote that is sent again' },
    why: 'The node would count from another send than the client.',
  },
  {
    id: 'redis-quorum-copy-of-a-vote-after-the-release',
    file: `${QUORUM}/vote.ts`,
    find: "if s.buried[id] or s.released == id then return 'G' end",
    replace: "if s.buried[id] then return 'G' end",
    tests: { ...SCRIPTS, name: 'a vote that comes after the release' },
    why: 'A copy of a vote would keep others out for a TTL, for nobody.',
  },
  {
    id: 'redis-quorum-renewal-takes-what-another-has',
    file: `${QUORUM}/renew.ts`,
    find: 'if s.released == id or (h and (h.id ~= id or ends(h) <= now)) then',
    replace: 'if h and h.id ~= id then h = nil end\n  if s.released == id then',
    tests: { ...SCRIPTS, name: 'a renewal takes up a node' },
    why: 'A late renewal would take a vote away from a later holder.',
  },
  {
    id: 'redis-quorum-renewal-does-not-repair',
    file: `${QUORUM}/renew.ts`,
    find: '  if not h then\n',
    replace: "  if not h then return 'L|' end\n  if not h then\n",
    tests: { ...FAULT, name: 'outlives the restart of every node' },
    why: 'A lease that is held for long would be lost by restarts of single nodes, one after another.',
  },
  {
    id: 'redis-quorum-newcomer-passes-the-line',
    file: `${QUORUM}/vote.ts`,
    find: 'local isMyTurn = not head or head.id == id or ticket < head.ticket',
    replace: 'local isMyTurn = true or ticket < head.ticket',
    tests: { ...CONTRACT, name: 'a node that releases and asks again stands behind' },
    why: 'A node that releases and asks again would starve those who wait.',
  },
  {
    id: 'redis-quorum-one-server-twice',
    file: `${QUORUM}/round.ts`,
    find: 'if (new Set(runIds).size === runIds.length) return;',
    replace: 'if (runIds.length < 99) return;',
    tests: { ...SCRIPTS, name: 'two clients of one server' },
    why: 'One server would be a majority by itself.',
  },
  {
    id: 'redis-quorum-forced-release-is-renewed',
    file: `${QUORUM}/force.ts`,
    find: 'bury(s, h.id, math.max(tonumber(ARGV[2]), h.ttl), ARGV[1])\n',
    replace: '',
    tests: { ...SCRIPTS, name: 'a forced release outlasts the renewal' },
    why: 'The renewal of the victim would take the votes again.',
  },
  {
    id: 'redis-wait-replicas-does-not-look-at-the-answer',
    file: 'src/drivers/redis/wait-replicas.ts',
    find: 'if (!isHeld || acknowledged < count) {',
    replace: 'if (!isHeld) {',
    tests: { ...SENTINEL, name: 'a grant that no replica confirmed' },
    why: 'A lock would be handed out that no replica has.',
  },
  {
    id: 'redis-wait-replicas-keeps-what-was-not-confirmed',
    file: 'src/drivers/redis/lock/replicated.ts',
    find: 'for (const grant of grants) backend.release(grant).catch(() => {});',
    replace: '',
    tests: { ...SENTINEL, name: 'a grant that no replica confirmed' },
    why: 'A lock that nobody was given would keep others out for its TTL.',
  },
  {
    id: 'redis-branch-fence-is-not-checked-at-prepare',
    file: 'src/drivers/redis/participant-scripts.ts',
    find: '#stored ~= #token or stored > token) then\n      return refuse',
    replace: '#stored ~= #token) then\n      return refuse',
    tests: {
      project: 'integration',
      file: 'test/integration/branch-fence.test.ts',
      name: 'a holder that is overtaken before its commit',
    },
    why: 'A holder that was overtaken after its last look would commit.',
  },
];
