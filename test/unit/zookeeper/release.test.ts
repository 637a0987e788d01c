import assert from 'node:assert/strict';
import { test } from 'vitest';
import { alarms } from '../../../src/core/alarms.js';
import { systemClock } from '../../../src/core/clock.js';
import type { LiveSession } from '../../../src/drivers/zookeeper/live-session.js';
import type { HeldGrant } from '../../../src/drivers/zookeeper/lock-grants.js';
import { releaseGrant } from '../../../src/drivers/zookeeper/lock-keeping.js';

// The server ended the session first, so somebody else may have had the lock before the release was
// asked for. Nobody here can tell, and the caller must not be told that all was well.
test('a release whose session ends before it is answered is told as lost', async () => {
  const ended = new AbortController();
  const undone: string[] = [];
  const live = {
    ended: ended.signal,
    ask: { remove: async () => ({ ok: false, kind: 'unknown', rc: -4 }) },
    connected: async () => {
      ended.abort(new Error('the session has expired'));
      throw ended.signal.reason;
    },
  } as unknown as LiveSession;
  const held = {
    live,
    path: '/lock/place',
    guardPath: undefined,
    grant: { resource: 'sku:42' },
    validity: { since: { monotonicMs: performance.now(), wallMs: Date.now() }, forMs: 60_000 },
    end: () => {},
  } as unknown as HeldGrant;
  const bounds = { clock: systemClock, alarms: alarms(systemClock, { keepAlive: false }) };
  const reaper = { undo: () => undone.push('place'), close: () => {} };
  assert.equal(await releaseGrant(bounds, reaper, held, undefined), 'lost');
  assert.deepEqual(undone, [], 'what is ephemeral went with the session');
});
