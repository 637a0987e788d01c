import { keyPrefixOf, type RedisClient } from './client.js';
import { hashTagOf } from './keys.js';

const SLOTS = 16_384;
/** CRC16 of XMODEM, as the specification of Redis Cluster names it. */
const POLYNOMIAL = 0x1021;

/** The slot of a cluster that a complete key lives in: CRC16 of its hash tag. */
export function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(hashTagOf(key))) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x8000 ? (crc << 1) ^ POLYNOMIAL : crc << 1) & 0xffff;
    }
  }
  return crc % SLOTS;
}

/**
 * Parts items into groups that one command can carry: those of one slot of a cluster, or all, and
 * at most `sizeMax` in each. The keys are as commands are given them, without the client's keyPrefix.
 */
export function slotGroups<Item>(
  client: RedisClient,
  items: readonly Item[],
  keyOf: (item: Item) => string,
  sizeMax: number,
): Item[][] {
  if (!client.isCluster) return chunks(items, sizeMax);
  const prefix = keyPrefixOf(client);
  const bySlot = new Map<number, Item[]>();
  for (const item of items) {
    const slot = slotOf(prefix + keyOf(item));
    const group = bySlot.get(slot);
    if (group === undefined) bySlot.set(slot, [item]);
    else group.push(item);
  }
  return [...bySlot.values()].flatMap((group) => chunks(group, sizeMax));
}

function chunks<Item>(items: readonly Item[], size: number): Item[][] {
  const parts: Item[][] = [];
  for (let start = 0; start < items.length; start += size) {
    parts.push(items.slice(start, start + size));
  }
  return parts;
}
