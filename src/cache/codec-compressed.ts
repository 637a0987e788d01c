import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
} from 'node:zlib';
import { assertNumber, invalidArgument } from '../core/validate.js';
import type { BytesCodec, Codec } from './codec-types.js';

/** Options of {@link compressed}. */
export interface CompressionOptions {
  /** What is larger than so many bytes is compressed. Default 1,024; at least 0. */
  readonly aboveBytes?: number | undefined;
  /** By what; default `gzip`. Entries of each are read, so it may be changed at any time. */
  readonly algorithm?: 'gzip' | 'deflate' | 'brotli' | undefined;
  /**
   * How large a value may be before it is compressed, 1 byte to 1 GiB; default 64 MiB. A larger one is
   * refused, and an entry that would grow beyond it is a miss: not more memory is taken for it.
   */
  readonly bytesMax?: number | undefined;
}

interface Algorithm {
  readonly mark: number;
  compress(bytes: Uint8Array): Buffer;
  decompress(bytes: Uint8Array, bounds: { readonly maxOutputLength: number }): Buffer;
}

const ABOVE_BYTES_DEFAULT = 1_024;
const BYTES_MAX_DEFAULT = 64 * 1_024 * 1_024;
const BYTES_MAX_LIMIT = 1_024 * 1_024 * 1_024;
/** Brotli's own default takes a hundred times as long for a few percent. */
const BROTLI_QUALITY = 4;
/** The first byte of an entry. */
const AS_IT_IS = 0;
const ALGORITHMS: Readonly<Record<'gzip' | 'deflate' | 'brotli', Algorithm>> = {
  gzip: { mark: 1, compress: (bytes) => gzipSync(bytes), decompress: gunzipSync },
  deflate: { mark: 2, compress: (bytes) => deflateSync(bytes), decompress: inflateSync },
  brotli: {
    mark: 3,
    compress: (bytes) =>
      brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }),
    decompress: brotliDecompressSync,
  },
};

/**
 * A codec whose larger values are compressed, by Node's own zlib and in this thread: 1 MB takes some
 * ten milliseconds. What would not become smaller is kept as it is.
 *
 * ```ts
 * createCache({ codec: compressed(jsonCodec, { aboveBytes: 4_096, algorithm: 'brotli' }), … });
 * ```
 *
 * @throws TypeError (INVALID_ARGUMENT) for options out of their bounds.
 */
export function compressed(codec: Codec, options: CompressionOptions = {}): BytesCodec {
  const { aboveBytes = ABOVE_BYTES_DEFAULT, bytesMax = BYTES_MAX_DEFAULT } = options;
  const { algorithm: name = 'gzip' } = options;
  assertNumber('aboveBytes', aboveBytes, { min: 0, integer: true });
  assertNumber('bytesMax', bytesMax, { min: 1, max: BYTES_MAX_LIMIT, integer: true });
  const algorithm = Object.hasOwn(ALGORITHMS, name) ? ALGORITHMS[name] : undefined;
  if (algorithm === undefined) {
    throw invalidArgument('algorithm', name, "'gzip', 'deflate' or 'brotli'");
  }
  return {
    id: `${codec.id}+zip`,
    form: 'bytes',
    encode(value) {
      const bytes = bytesOf(codec, value);
      if (bytes.length > bytesMax) {
        const type = `${bytes.length} bytes, of which ${bytesMax} are allowed`;
        throw Object.assign(new RangeError(type), { type });
      }
      const packed = bytes.length > aboveBytes ? algorithm.compress(bytes) : bytes;
      const isSmaller = packed.length < bytes.length;
      const mark = Buffer.of(isSmaller ? algorithm.mark : AS_IT_IS);
      return Buffer.concat([mark, isSmaller ? packed : bytes]);
    },
    decode(bytes) {
      const [mark] = bytes;
      const content = bytes.subarray(1);
      if (mark === AS_IT_IS) return decodedOf(codec, content);
      const used = Object.values(ALGORITHMS).find((each) => each.mark === mark);
      if (used === undefined) throw new TypeError(`nobody compresses with the mark ${mark}`);
      return decodedOf(codec, used.decompress(content, { maxOutputLength: bytesMax }));
    },
  };
}

function bytesOf(codec: Codec, value: unknown): Uint8Array {
  return codec.form === 'bytes' ? codec.encode(value) : Buffer.from(codec.encode(value));
}

function decodedOf(codec: Codec, bytes: Uint8Array): unknown {
  if (codec.form === 'bytes') return codec.decode(bytes);
  return codec.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
}
