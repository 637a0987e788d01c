import { createHash } from 'node:crypto';
import type { MemcachedAddress } from './addresses.js';

/** Digests of each server, with four points each, as libmemcached's weighted ketama has them. */
const DIGESTS_PER_SERVER = 40;
const POINTS_PER_DIGEST = 4;
const PORT_DEFAULT = 11_211;

interface Point {
  readonly at: number;
  readonly index: number;
}

/**
 * Tells which server has a key: the consistent hash "ketama" with 160 points a server (R. Jones,
 * libketama, 2007; the points are those of libmemcached). When a server is added to n others, about
 * 1 key in n + 1 moves.
 */
export function hashRing(servers: readonly MemcachedAddress[]): (key: string) => number {
  if (servers.length === 1) return () => 0;
  const points = servers.flatMap(pointsOf).sort((a, b) => a.at - b.at);
  return (key) => {
    const at = digestOf(key).readUInt32LE(0);
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((points[middle]?.at ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return (points[low] ?? points[0])?.index ?? 0;
  };
}

function pointsOf({ host, port }: MemcachedAddress, index: number): Point[] {
  const name = port === PORT_DEFAULT ? host : `${host}:${port}`;
  return Array.from({ length: DIGESTS_PER_SERVER }, (_, turn) => {
    const digest = digestOf(`${name}-${turn}`);
    return Array.from({ length: POINTS_PER_DIGEST }, (_, part) => {
      return { at: digest.readUInt32LE(part * 4), index };
    });
  }).flat();
}

function digestOf(text: string): Buffer {
  return createHash('md5').update(text).digest();
}
