import assert from 'node:assert/strict';
import { lockId } from '../core/ids.js';
import { RESOURCE_ID_BYTES_MAX } from '../core/validate.js';
import { inLine, PATIENCE_MS, type StagedCase, within } from './lock-stage.js';

/** Names that meet every separator, escape and pattern of the backends that we know. */
const HOSTILE_NAMES: readonly string[] = [
  '/a/b//c/',
  '{slot}{}tag}',
  'line\nbreak\ttab\0nul',
  '😀 emoji é ß 漢字 \u{10FFFF}',
  '%2F%00 +?&=',
  '..',
  '*[?]^$\'"\\;--',
  ' ',
  'x@y:z',
];

/** A name of exactly the greatest length, most of it two bytes a character. */
function longName(prefix: string): string {
  const bytes = RESOURCE_ID_BYTES_MAX - Buffer.byteLength(prefix);
  return prefix + 'é'.repeat(Math.floor(bytes / 2)) + 'x'.repeat(bytes % 2);
}

const NAMES: readonly StagedCase[] = [
  [
    'every well-formed name up to 1,024 bytes is a resource of its own',
    async (stage) => {
      const [one, other] = await stage.pair();
      const names = [
        ...HOSTILE_NAMES.map((name) => stage.resource(name)),
        longName(stage.resource()),
      ];
      for (const name of names) {
        const grant = await one.acquire(name);
        assert.equal(grant.resource, name);
      }
      for (const name of names) {
        assert.equal(await other.tryAcquire(name), undefined, `${JSON.stringify(name)} is held`);
        const { resource, holders } = await other.backend.inspect(name);
        assert.equal(resource, name);
        assert.equal(holders[0]?.owner, lockId(name, one.node.nodeId));
      }
    },
  ],
  [
    'names that differ only in case, in normal form or in an escape are different resources',
    async (stage) => {
      const [one] = await stage.pair();
      const names = ['a', 'A', 'é', 'e\u0301', '%61', '%41', 'a ', 'a/', '/a'];
      const grants = await Promise.all(names.map((name) => one.acquire(stage.resource(name))));
      assert.equal(new Set(grants.map((grant) => grant.grantId)).size, names.length);
    },
  ],
];

const LOOKING: readonly StagedCase[] = [
  [
    'inspect shows the holder with its token, and who waits in the order of service',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const grant = await one.acquire(stage.resource());
      const waiting = [];
      for (const [index, node] of [second, third].entries()) {
        const asked = node.backend.acquire(node.request(stage.resource()));
        asked.catch(() => {});
        waiting.push(asked);
        await inLine(one, stage.resource(), index + 1);
      }
      const { holders, waiters } = await third.backend.inspect(stage.resource());
      assert.equal(holders.length, 1);
      assert.equal(holders[0]?.owner, lockId(stage.resource(), one.node.nodeId));
      assert.equal(holders[0]?.grantId, grant.grantId);
      assert.equal(holders[0]?.fencingToken, grant.fencingToken);
      assert.equal(holders[0]?.mode, 'exclusive');
      const owners = [second, third].map(({ node }) => lockId(stage.resource(), node.nodeId));
      assert.deepEqual(
        waiters.map((waiter) => waiter.owner),
        owners,
      );
      await one.backend.release(grant);
      const next = await within(PATIENCE_MS, waiting[0] as Promise<never>, 'the next grant');
      await second.backend.release(next);
    },
  ],
  [
    'inspect of a resource that nobody holds shows nobody, and creates nothing',
    async (stage) => {
      const node = await stage.node();
      for (let round = 0; round < 2; round += 1) {
        assert.deepEqual(await node.backend.inspect(stage.resource()), {
          resource: stage.resource(),
          holders: [],
          waiters: [],
        });
      }
    },
  ],
  [
    'the backend tells what it guarantees, in sentences',
    async (stage) => {
      const node = await stage.node();
      const guarantees = await within(PATIENCE_MS, node.backend.guarantees(), 'guarantees');
      assert.ok(guarantees.subject.length > 0);
      assert.ok(guarantees.promises.length > 0, 'something is promised');
      for (const sentence of [...guarantees.promises, ...guarantees.warnings]) {
        assert.match(sentence, /\S.*\.$/su, 'a sentence ends with a full stop');
      }
    },
  ],
];

const CLOSING: readonly StagedCase[] = [
  [
    'closing ends background work, twice as well as once, and other nodes go on',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource());
      await one.backend.release(grant);
      await within(PATIENCE_MS, one.backend.close(), 'close');
      await within(PATIENCE_MS, one.backend.close(), 'a second close');
      await other.acquire(stage.resource());
    },
  ],
];

/** Names, inspection, guarantees, the end. */
export const BACKEND_CASES: readonly StagedCase[] = [...NAMES, ...LOOKING, ...CLOSING];
