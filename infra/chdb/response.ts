import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable, Transform, Writable } from 'node:stream';
import * as zlib from 'node:zlib';
import { ClickHouseException, describeException } from './exception.ts';

/** What a query did, sent as `X-ClickHouse-Summary`. */
export interface Progress {
  read_rows?: number;
  read_bytes?: number;
  written_rows?: number;
  written_bytes?: number;
  result_rows?: number;
  result_bytes?: number;
}

/** The answer to one request. */
export interface Answer {
  /** Aborts when the client goes away before it has everything. */
  readonly gone: AbortSignal;
  setHeader(name: string, value: string): void;
  whole(body: Uint8Array, progress: Progress): void;
  /** Sends `output` as it comes; `done` tells how the query ended. */
  stream(
    output: Readable,
    done: Promise<{ rows: number; bytes: number }>,
    options: { compress: boolean; holdAll: boolean },
  ): Promise<void>;
  /** An exception: as the answer, or at the end of what was sent already, and then the connection is cut. */
  fail(error: unknown): Promise<void>;
}

/** Until this much has come a query that fails can still be answered with a status, as in ClickHouse. */
const HELD_BYTES = 1024 * 1024;
const MAX_HELD_BYTES = 256 * 1024 * 1024;

/** A client that takes nothing for so long is cut off, so that it does not keep a place (`send_timeout`). */
const SLOWEST_READER_MS = 300_000;

export function openAnswer(request: IncomingMessage, response: ServerResponse, version: string): Answer {
  const startedAt = performance.now();
  const gone = new AbortController();
  const exceptionTag = randomBytes(8).toString('hex');
  let sink: Writable = response;
  response.on('close', () => {
    if (!response.writableFinished) gone.abort();
  });

  function begin(progress: Progress): void {
    response.setHeader('X-ClickHouse-Summary', summary(progress, performance.now() - startedAt));
    response.setHeader('X-ClickHouse-Exception-Tag', exceptionTag);
  }

  function whole(body: Uint8Array, progress: Progress): void {
    begin(progress);
    response.setHeader('Content-Length', body.length);
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async function stream(
    output: Readable,
    done: Promise<{ rows: number; bytes: number }>,
    { compress, holdAll }: { compress: boolean; holdAll: boolean },
  ): Promise<void> {
    const stop = () => output.destroy();
    gone.signal.addEventListener('abort', stop, { once: true });
    const held: Buffer[] = [];
    let heldBytes = 0;
    let begun = false;

    async function start(progress: Progress): Promise<void> {
      begun = true;
      if (compress) sink = compressed(request, response);
      begin(progress);
      for (const chunk of held) await write(chunk);
      held.length = 0;
    }

    try {
      for await (const chunk of output) {
        if (begun) {
          await write(chunk);
          continue;
        }
        held.push(chunk);
        heldBytes += chunk.length;
        if (heldBytes > MAX_HELD_BYTES) throw tooMuchHeld();
        if (!holdAll && heldBytes >= HELD_BYTES) await start({});
      }
    } catch (error) {
      output.destroy();
      await done.catch(() => {});
      throw error;
    } finally {
      gone.signal.removeEventListener('abort', stop);
    }
    const { rows, bytes } = await done;
    if (!begun) await start({ result_rows: rows, result_bytes: bytes });
    sink.end();
    if (!response.writableFinished && !gone.signal.aborted) await once(response, 'close').catch(() => {});
  }

  async function write(chunk: Buffer): Promise<void> {
    if (request.method === 'HEAD' || sink.write(chunk)) return;
    const slow = setTimeout(() => response.destroy(), SLOWEST_READER_MS);
    try {
      await once(sink, 'drain', { signal: gone.signal });
    } finally {
      clearTimeout(slow);
    }
  }

  async function fail(error: unknown): Promise<void> {
    if (gone.signal.aborted) return;
    const { code, status, text } = describeException(error, version);
    if (response.headersSent) return cut(text);
    response.statusCode = status;
    if (status === 503) response.setHeader('Retry-After', '1');
    response.setHeader('X-ClickHouse-Exception-Code', code);
    response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
    response.removeHeader('Content-Encoding');
    whole(Buffer.from(text), {});
  }

  /**
   * ClickHouse's form since 25.11, which its clients find by the tag in the headers; the end of the
   * chunked body never comes, so that every other client notices too.
   */
  async function cut(text: string): Promise<void> {
    const length = Buffer.byteLength(text);
    sink.write(
      `\r\n__exception__\r\n${exceptionTag}\r\n${text}${length} ${exceptionTag}\r\n__exception__\r\n`,
    );
    if (sink !== response) {
      await new Promise<void>((resolve) => flush(sink, resolve));
    }
    response.socket?.end();
  }

  return {
    gone: gone.signal,
    setHeader: (name, value) => response.setHeader(name, value),
    whole,
    stream,
    fail,
  };
}

function flush(sink: Writable, done: () => void): void {
  const method: unknown = Reflect.get(sink, 'flush');
  if (typeof method === 'function') method.call(sink, done);
  else done();
}

/** The first of the client's encodings that we have. */
function compressed(request: IncomingMessage, response: ServerResponse): Writable {
  const accepted = String(request.headers['accept-encoding'] ?? '');
  const encoding = Object.keys(COMPRESSORS).find((name) => new RegExp(`\\b${name}\\b`, 'i').test(accepted));
  const compressor = encoding === undefined ? undefined : COMPRESSORS[encoding]?.();
  if (encoding === undefined || compressor === undefined) return response;
  response.setHeader('Content-Encoding', encoding);
  compressor.pipe(response);
  return compressor;
}

const COMPRESSORS: Record<string, () => Transform> = {
  gzip: () => zlib.createGzip({ level: 3 }),
  deflate: () => zlib.createDeflate({ level: 3 }),
  br: () => zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 3 } }),
};

function summary(progress: Progress, elapsedMs: number): string {
  const numbers = {
    read_rows: 0,
    read_bytes: 0,
    written_rows: 0,
    written_bytes: 0,
    total_rows_to_read: 0,
    result_rows: 0,
    result_bytes: 0,
    elapsed_ns: Math.round(elapsedMs * 1e6),
    ...progress,
  };
  return JSON.stringify(
    Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, String(value)])),
  );
}

function tooMuchHeld(): ClickHouseException {
  return new ClickHouseException(
    'TOO_MANY_BYTES',
    `the result is larger than wait_end_of_query can hold here`,
  );
}
