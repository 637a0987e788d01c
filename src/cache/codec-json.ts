import { decodeValue, encodeValue } from './codec.js';
import type { TextCodec } from './codec-types.js';
import { isolate } from './isolation.js';

/**
 * The default codec: JSON with tags, which carries Date, bigint, Map, Set, `undefined` inside, NaN, the
 * infinities, -0, Uint8Array and Buffer exactly, is bare JSON where nothing needs a tag, and refuses
 * everything else with the path to it. As the `codec` of a cache it is the same as none; it is here to
 * be wrapped, as in `compressed(jsonCodec)`.
 */
export const jsonCodec: TextCodec = {
  id: 'json',
  form: 'text',
  encode: (value) => encodeValue(isolate('', value)),
  decode: (text) => decodeValue(() => 'the text', text, false).value,
};
