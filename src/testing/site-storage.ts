import assert from 'node:assert/strict';
import { systemClock } from '../core/clock.js';
import { GUARANTEE_LEVELS } from '../core/guarantees.js';
import { systemRandom } from '../core/random.js';
import type { SiteStorage, SiteStore } from '../transaction/three-phase/site-storage.js';
import type { ContractCase } from './contract.js';

/** What {@link siteStorageContract} is run on. */
export interface SiteStorageSubject {
  /** Opens the storage the way one more process would: with its own client, on the same backend. */
  open(): OpenedSiteStorage | Promise<OpenedSiteStorage>;
}

/** A storage as the subject of a contract opens it. */
export interface OpenedSiteStorage {
  /** What the cases open stores of. */
  readonly storage: SiteStorage;
  /** Lets go of what was opened for it. */
  close?(): Promise<void>;
}

interface Stage {
  store(site?: string, namespace?: string): Promise<SiteStore>;
}

type Play = (stage: Stage) => Promise<void>;

/** An awkward text: the storage must give it back to the byte. */
const TEXT = `{"n":"ü🎻'\\"{}%\\u0000?$1"}`;

const cases: Readonly<Record<string, Play>> = {
  'what was written is read by the next life of the site': async ({ store }) => {
    const first = await store();
    const record = { transactionId: 'tc1.a', version: 1, text: TEXT };
    assert.equal(await first.write(record), 'written');
    await first.close();
    const second = await store();
    assert.deepEqual(await second.read('tc1.a'), record);
    assert.equal(await second.read('tc1.b'), undefined);
  },
  'a record is changed only by whoever names the version before': async ({ store }) => {
    const [one, other] = [await store(), await store()];
    const record = { transactionId: 'tc1.a', version: 1, text: 'one' };
    assert.equal(await one.write(record), 'written');
    assert.equal(await other.write({ ...record, text: 'other' }), 'conflict');
    assert.equal(await other.write({ ...record, version: 2, text: 'two' }), 'written');
    assert.equal(await one.write({ ...record, version: 2, text: 'mine' }), 'conflict');
    assert.equal(await one.write({ ...record, version: 4, text: 'four' }), 'conflict');
    assert.equal((await one.read('tc1.a'))?.text, 'two');
  },
  'of two that write at the same time one succeeds': async ({ store }) => {
    const stores = [await store(), await store(), await store()];
    const answers = await Promise.all(
      stores.map((each, index) =>
        each.write({ transactionId: 'tc1.a', version: 1, text: `by ${index}` }),
      ),
    );
    assert.equal(answers.filter((answer) => answer === 'written').length, 1);
  },
  'a write can be sent again': async ({ store }) => {
    const one = await store();
    const record = { transactionId: 'tc1.a', version: 1, text: TEXT };
    assert.equal(await one.write(record), 'written');
    assert.equal(await one.write(record), 'written');
    const next = { ...record, version: 2, text: 'next' };
    assert.equal(await one.write(next), 'written');
    assert.equal(await one.write(next), 'written');
    // An older write that arrives late changes nothing.
    assert.equal(await one.write(record), 'conflict');
    assert.deepEqual(await one.read('tc1.a'), next);
  },
  'a removed record is gone, and only the version named is removed': async ({ store }) => {
    const one = await store();
    const record = { transactionId: 'tc1.a', version: 1, text: 'one' };
    await one.write(record);
    await one.write({ ...record, version: 2 });
    await one.remove('tc1.a', 1);
    assert.equal((await one.read('tc1.a'))?.version, 2);
    await one.remove('tc1.a', 2);
    await one.remove('tc1.a', 2);
    assert.equal(await one.read('tc1.a'), undefined);
    assert.equal(await one.write({ ...record, version: 3 }), 'conflict');
    assert.equal(await one.write(record), 'written');
  },
  'records are listed page by page in the order of their ids': async ({ store }) => {
    const one = await store();
    const ids = ['tc1.B', 'tc1.a', 'tc1.-', 'tc1._', 'tc1.0', 'tc1.a.b'];
    for (const transactionId of ids) await one.write({ transactionId, version: 1, text: TEXT });
    const found: string[] = [];
    for (let after = ''; ; ) {
      const page = await one.list(after, 4);
      found.push(...page.map(({ transactionId }) => transactionId));
      after = page.at(-1)?.transactionId ?? after;
      if (page.length < 4) break;
    }
    assert.deepEqual(found, ids.toSorted());
  },
  'sites and namespaces do not see each other': async ({ store }) => {
    const one = await store('stock-1');
    await one.write({ transactionId: 'tc1.a', version: 1, text: 'one' });
    for (const other of [await store('stock-2'), await store('stock-1', 'other')]) {
      assert.equal(await other.read('tc1.a'), undefined);
      assert.deepEqual(await other.list('', 10), []);
      assert.equal(await other.write({ transactionId: 'tc1.a', version: 1, text: 'o' }), 'written');
    }
    assert.equal((await one.read('tc1.a'))?.text, 'one');
  },
  'an aborted signal ends a call with its reason': async ({ store }) => {
    const one = await store();
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(one.read('tc1.a', { signal }), (error) => error === reason);
  },
  'the guarantees are read': async ({ store }) => {
    const one = await store();
    const { survives, subject } = await one.guarantees();
    assert.ok(GUARANTEE_LEVELS.includes(survives));
    assert.notEqual(subject, '');
  },
};

/**
 * The contract of a `SiteStorage` as cases for any test runner, against a real backend.
 *
 * ```ts
 * for (const { name, run } of siteStorageContract(subject)) test(name, run);
 * ```
 *
 * Each case uses a namespace of its own, so cases may run on one backend and side by side.
 */
export function siteStorageContract(subject: SiteStorageSubject): readonly ContractCase[] {
  return Object.entries(cases).map(([name, play]) => ({
    name,
    run: () => onStage(subject, play),
  }));
}

async function onStage(subject: SiteStorageSubject, play: Play): Promise<void> {
  const cleanups: (() => Promise<void>)[] = [];
  const own = `k${systemRandom.token(8)}`;
  const store = async (site = 'stock-1', namespace = 'same'): Promise<SiteStore> => {
    const opened = await subject.open();
    const name = namespace === 'same' ? own : `${own}x`;
    const node = { site, namespace: name, clock: systemClock, random: systemRandom };
    const made = opened.storage.open(node);
    cleanups.push(async () => {
      await made.close();
      await opened.close?.();
    });
    return made;
  };
  try {
    await play({ store });
  } finally {
    for (const cleanup of cleanups) await cleanup();
  }
}
