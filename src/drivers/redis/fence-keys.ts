import { invalidArgument } from '../../core/validate.js';
import { keyPrefixOf, type RedisClient } from './client.js';
import { encodeTag, hashTagOf, redisKeys } from './keys.js';

/**
 * The key of a resource's newest token, and the key itself: both in one slot of a cluster, whatever
 * braces and keyPrefix there are.
 *
 * A key with half a pair of braces has a slot that no other name can be given; on a cluster it is
 * refused with a TypeError (INVALID_ARGUMENT).
 */
export function fenceKeys(
  client: RedisClient,
  namespace: string | undefined,
): (key: string) => [token: string, value: string] {
  const area = redisKeys('fence', namespace).channel('');
  const prefix = keyPrefixOf(client);
  return (key) => {
    const tag = hashTagOf(`${prefix}${key}`);
    const token = `${area}{${tag}}:${encodeTag(key)}`;
    if (client.isCluster && hashTagOf(`${prefix}${token}`) !== tag) {
      throw invalidArgument('key', key, 'a key without braces, or with a hash tag such as {shop}');
    }
    return [token, key];
  };
}
