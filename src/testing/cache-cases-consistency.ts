import assert from 'node:assert/strict';
import type { Cache, CacheConsistency, CacheOptions } from '../cache/cache.js';
import { v8Codec } from '../cache/codec-v8.js';
import { type CacheStage, type StagedCacheCase, until } from './cache-stage.js';

const TURNS = 10;
const STRICT_LEASE_MS = 50;

/** One cache of a level, with memory before it where `isTiered`; undefined where that is refused. */
async function cacheOf<Value>(
  stage: CacheStage,
  consistency: CacheConsistency,
  isTiered: boolean,
  more?: Partial<CacheOptions<Value>>,
): Promise<Cache<Value> | undefined> {
  const level = { consistency, strictLeaseMs: STRICT_LEASE_MS };
  try {
    return await stage.cache<Value>({ ...level, ...more }, { isTiered });
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message: string };
    if (code !== 'INVALID_ARGUMENT' || !/consistency|tiers/.test(message)) throw error;
    return undefined;
  }
}

/** Two nodes with caches of a level; undefined where it is refused. */
async function pairOf<Value = number>(
  stage: CacheStage,
  consistency: CacheConsistency,
  isTiered: boolean,
  more?: Partial<CacheOptions<Value>>,
): Promise<readonly [Cache<Value>, Cache<Value>] | undefined> {
  const writer = await cacheOf<Value>(stage, consistency, isTiered, more);
  const reader = await cacheOf<Value>(stage, consistency, isTiered, more);
  assert.equal(writer === undefined, reader === undefined);
  return writer && reader && [writer, reader];
}

/** Writes one version after another; `check` is told of each when it was acknowledged. */
async function eachVersion(
  writer: Cache<number>,
  check: (version: number) => Promise<void>,
): Promise<void> {
  for (let version = 1; version <= TURNS; version += 1) {
    if (version % 2 === 0) await writer.set('key', version);
    else await writer.update('key', () => {}, { value: version });
    assert.equal(await writer.get('key'), version, 'the node that wrote sees its own write');
    await check(version);
  }
}

/** What is read is never older than the acknowledged version. */
async function neverOlder(stage: CacheStage, consistency: CacheConsistency, isTiered: boolean) {
  const [writer, reader] = (await pairOf(stage, consistency, isTiered)) ?? [];
  if (writer === undefined || reader === undefined) return;
  await eachVersion(writer, async (version) => {
    assert.equal(await reader.get('key'), version, `${consistency}: acknowledged before the read`);
  });
}

/** What is read may be older for a while, and never goes back. */
async function neverBack(stage: CacheStage, consistency: CacheConsistency, isTiered: boolean) {
  const [writer, reader] = (await pairOf(stage, consistency, isTiered)) ?? [];
  if (writer === undefined || reader === undefined) return;
  let newest = 0;
  const look = async (): Promise<number> => {
    const seen = await reader.get('key');
    assert.ok((seen ?? newest) >= newest, `${consistency}: ${seen} after ${newest}`);
    newest = seen ?? newest;
    return newest;
  };
  await eachVersion(writer, async (version) => {
    await look();
    await until(`version ${version} to be seen`, async () => (await look()) === version);
  });
}

const EVERY_BYTE: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => byte);

/** Every way in which a value gets into the driver keeps it exactly. */
async function keepsBytes(stage: CacheStage, consistency: CacheConsistency): Promise<void> {
  const codec = v8Codec;
  const [writer, reader] = (await pairOf<Uint8Array>(stage, consistency, false, { codec })) ?? [];
  if (writer === undefined || reader === undefined) return;
  const reads = async (bytes: Uint8Array, how: string): Promise<void> =>
    assert.deepEqual(await reader.get('key'), bytes, `${consistency}: what was ${how}`);
  await writer.getOrLoad('key', () => EVERY_BYTE);
  await reads(EVERY_BYTE, 'loaded');
  await writer.set('key', EVERY_BYTE.toReversed());
  await reads(EVERY_BYTE.toReversed(), 'set');
  await writer.update('key', () => {}, { value: EVERY_BYTE });
  await reads(EVERY_BYTE, 'written through');
}

/** What each level promises to readers of other nodes; what a driver cannot give it refuses. */
export const CACHE_CONSISTENCY_CASES: readonly StagedCacheCase[] = [
  [
    'lease: a read of another node that begins after an acknowledged write is new',
    (stage) => neverOlder(stage, 'lease', false),
  ],
  [
    'strict, or refused: a read of another node that begins after an acknowledged write is new',
    (stage) => neverOlder(stage, 'strict', false),
  ],
  [
    'sequential, or refused: reads of another node never go back, and see each write in the end',
    (stage) => neverBack(stage, 'sequential', false),
  ],
  [
    'what a codec writes as bytes comes back exactly, however it was written',
    async (stage) => {
      await keepsBytes(stage, 'lease');
      await keepsBytes(stage, 'strict');
    },
  ],
];

/** The same of levels that need memory before the driver. */
export const CACHE_TIERED_CONSISTENCY_CASES: readonly StagedCacheCase[] = [
  [
    'strict with memory before it, or refused: a read that begins after an acknowledged write is new',
    (stage) => neverOlder(stage, 'strict', true),
  ],
  [
    'tracked, or refused: memory of another node never goes back, and sees each write in the end',
    (stage) => neverBack(stage, 'tracked', true),
  ],
  [
    'notified, or refused: memory of another node never goes back, and sees each write in the end',
    (stage) => neverBack(stage, 'notified', true),
  ],
];
