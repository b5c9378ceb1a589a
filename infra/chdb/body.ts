import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { type Readable, Transform, type TransformCallback, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { ClickHouseException } from './exception.ts';

/**
 * The body of a request, decompressed. Breaks with TOO_MANY_BYTES above `maxBytes`, before or after
 * decompression, and with CANNOT_DECOMPRESS.
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await pipeline([...stages(request, maxBytes), gather(chunks)]).catch((error) => {
    throw explained(error, request);
  });
  return Buffer.concat(chunks);
}

/** The same, into a new file, behind `head`. */
export async function saveBody(
  request: IncomingMessage,
  maxBytes: number,
  head: Buffer,
  file: string,
): Promise<void> {
  const output = createWriteStream(file, { flags: 'wx', mode: 0o600 });
  if (head.length > 0) output.write(head);
  await pipeline([...stages(request, maxBytes), output]).catch((error) => {
    throw explained(error, request);
  });
}

function stages(request: IncomingMessage, maxBytes: number): [Readable, ...Transform[]] {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const encoding = encodingOf(request);
  if (encoding === 'identity') return [request, limited(maxBytes)];
  const decompressor = Object.hasOwn(DECOMPRESSORS, encoding) ? DECOMPRESSORS[encoding] : undefined;
  if (decompressor === undefined) {
    throw new ClickHouseException('UNKNOWN_COMPRESSION_METHOD', `Unknown compression method: ${encoding}`);
  }
  return [request, limited(maxBytes), decompressor(), limited(maxBytes)];
}

const DECOMPRESSORS: Record<string, () => Transform> = {
  gzip: zlib.createGunzip,
  'x-gzip': zlib.createGunzip,
  deflate: zlib.createInflate,
  br: zlib.createBrotliDecompress,
  ...zstdWhereNodeHasIt(),
};

/** Since Node.js 22.15. */
function zstdWhereNodeHasIt(): Record<string, () => Transform> {
  const create: unknown = Reflect.get(zlib, 'createZstdDecompress');
  if (typeof create !== 'function') return {};
  return {
    zstd: () => {
      const stream: unknown = create();
      if (stream instanceof Transform) return stream;
      throw new ClickHouseException('UNKNOWN_COMPRESSION_METHOD', 'zstd is not available');
    },
  };
}

function limited(maxBytes: number): Transform {
  let size = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      size += chunk.length;
      if (size > maxBytes) done(tooLarge(maxBytes));
      else done(null, chunk);
    },
  });
}

function gather(chunks: Buffer[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
}

function explained(error: unknown, request: IncomingMessage): unknown {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  if (typeof code === 'string' && /^(Z_|ERR_(BROTLI|ZSTD)|ERR__)/.test(code)) {
    return new ClickHouseException('CANNOT_DECOMPRESS', `the body is not valid ${encodingOf(request)}`);
  }
  return error;
}

function encodingOf(request: IncomingMessage): string {
  return (request.headers['content-encoding'] ?? 'identity').toLowerCase();
}

function tooLarge(maxBytes: number): ClickHouseException {
  return new ClickHouseException('TOO_MANY_BYTES', `the request is larger than ${maxBytes} bytes`);
}
