import { describe, expect, test } from 'vitest';
import { parseAddresses } from '../../../src/drivers/memcached/addresses.js';
import { memcachedKeys } from '../../../src/drivers/memcached/keys.js';
import { hashRing } from '../../../src/drivers/memcached/ring.js';
import { memcachedCache } from '../../../src/memcached.js';

describe('the servers of a memcachedCache', () => {
  test('are named by host, port or both, in a text or a list', () => {
    const expected = [
      { host: 'cache-1', port: 11_211 },
      { host: '10.0.0.7', port: 2_121 },
      { host: '::1', port: 11_212 },
    ];
    expect(parseAddresses('cache-1, 10.0.0.7:2121,[::1]:11212')).toEqual(expected);
    expect(parseAddresses(['cache-1', '10.0.0.7:2121', '[::1]:11212'])).toEqual(expected);
  });

  test.each([
    [''],
    [[]],
    ['a:0'],
    ['a:65536'],
    ['a b'],
    ['::1'],
    ['a,a:11211'],
    [[7]],
    [undefined],
  ])('%j is refused before anything is sent', (servers) => {
    expect(() => memcachedCache({ servers: servers as string })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', argument: 'servers' }),
    );
  });

  test('a bad namespace is refused', () => {
    expect(() => memcachedCache({ servers: 'a', namespace: 'a b' })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', argument: 'namespace' }),
    );
  });
});

describe('the hash ring', () => {
  const servers = Array.from({ length: 5 }, (_, index) => {
    return { host: `cache-${index}`, port: 11_211 };
  });
  const keys = Array.from({ length: 10_000 }, (_, index) => `key-${index}`);

  test('gives each server its share', () => {
    const find = hashRing(servers);
    const counts = servers.map((_, index) => keys.filter((key) => find(key) === index).length);
    for (const count of counts) expect(count).toBeGreaterThan(1_200);
  });

  test('moves only the keys of a server that goes', () => {
    const all = hashRing(servers);
    const fewer = hashRing(servers.slice(0, 4));
    for (const key of keys) if (all(key) !== 4) expect(fewer(key)).toBe(all(key));
  });
});

describe('the names of items', () => {
  test('are short enough for the server, and different for different keys', () => {
    const names = memcachedKeys('catalog', 'shop');
    const long = 'x'.repeat(1_024);
    const keys = ['a', 'a b', 'a%20b', 'ä', '🛒', '\n', long, `${long.slice(1)}y`, '%'.repeat(300)];
    const texts = keys.map((key) => names.item(key).text);
    expect(new Set(texts).size).toBe(keys.length);
    for (const text of texts) expect(text).toMatch(/^[\x21-\x7e]{1,250}$/);
  });

  test('do not meet those of another cache', () => {
    const one = memcachedKeys('a:k', 'shop').item('b').text;
    expect(memcachedKeys('a', 'shop').item('k:k:b').text).not.toBe(one);
    expect(memcachedKeys('x'.repeat(64), 'shop').item('ä'.repeat(30)).text.length).toBeLessThan(
      251,
    );
  });
});
