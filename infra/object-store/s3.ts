import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { ImmutableError } from '../../core/errors.ts';
import { checkKey, checkPrefix, checkRange, isKey } from './keys.ts';
import type { S3Location } from './parse-url.ts';
import { type Piece, planParts } from './parts.ts';
import { isBeyondTheEnd, isMissingObject, isNotImplemented, refusal, translateS3Error } from './s3-errors.ts';
import type { ObjectStore } from './types.ts';

const CONNECT_TIMEOUT_MS = 3_000;
const REQUEST_TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;
const PARTS_AT_ONCE = 4;
const PIECES_AT_ONCE = 8;
const KEYS_PER_DELETION = 1_000;
/** S3's own limit for an address signed with a key. */
const MOST_EXPIRY_SECONDS = 7 * 86_400;

/** An open bucket. Keys in here are whole ones, with the prefix of the location. */
interface Bucket {
  client: S3Client;
  name: string;
  prefix: string;
  encryption: { ServerSideEncryption?: 'AES256' | 'aws:kms'; SSEKMSKeyId?: string };
}

interface Source {
  key: string;
  bytes: number;
  etag: string | undefined;
}

/**
 * Objects of an S3 bucket, Amazon's or of another server that speaks its protocol. Credentials come from
 * the SDK's own chain: environment, files, role. What is sent carries a checksum that the server compares.
 *
 * `compose` copies inside the store what it can and holds up to four parts of 8 MiB (above 80 GB, of a
 * 10,000th of the object) in memory. A process that dies in it leaves an unfinished upload, which a
 * lifecycle rule of the bucket should remove (docs/operations.md).
 *
 * A stream of `read` that breaks goes on where it was, unless the object has been replaced meanwhile.
 */
export function s3Store(
  location: S3Location,
  options: { connectTimeoutMs?: number; requestTimeoutMs?: number } = {},
): ObjectStore {
  const bucket = openBucket(location, options);
  const whole = (key: string) => {
    checkKey(key);
    return `${bucket.prefix}${key}`;
  };
  const translated = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw translateS3Error(error, bucket.name);
    }
  };
  return {
    put: (key, bytes) => translated(() => put(bucket, whole(key), bytes)),
    compose: (key, sources) => translated(() => compose(bucket, whole(key), sources.map(whole))),
    read: (key, range) => translated(() => read(bucket, whole(key), range)),
    stat: (key) => translated(() => stat(bucket, whole(key))),
    remove: (keys) => translated(() => remove(bucket, keys.map(whole))),
    list: (prefix) => list(bucket, prefix),
    presignedUrl: (key, wanted) => translated(() => presignedUrl(bucket, whole(key), wanted)),
  };
}

function openBucket(
  location: S3Location,
  options: { connectTimeoutMs?: number; requestTimeoutMs?: number },
): Bucket {
  const { bucket, prefix, endpoint, region, pathStyle, encryption } = location;
  const client = new S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    forcePathStyle: pathStyle,
    maxAttempts: ATTEMPTS,
    requestHandler: {
      connectionTimeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      requestTimeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      socketTimeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
    // The newer checksums are unknown to many servers; every one compares Content-MD5.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  return { client, name: bucket, prefix, encryption: encryptionOf(encryption) };
}

function encryptionOf(encryption: S3Location['encryption']): Bucket['encryption'] {
  if (encryption === undefined) return {};
  const keyId = encryption.algorithm === 'aws:kms' ? encryption.keyId : undefined;
  return {
    ServerSideEncryption: encryption.algorithm,
    ...(keyId === undefined ? {} : { SSEKMSKeyId: keyId }),
  };
}

async function put({ client, name, encryption }: Bucket, key: string, bytes: Uint8Array): Promise<void> {
  await client.send(
    new PutObjectCommand({ Bucket: name, Key: key, Body: bytes, ContentMD5: md5(bytes), ...encryption }),
  );
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64');
}

async function compose(bucket: Bucket, key: string, keys: readonly string[]): Promise<void> {
  const sources = await mapAtMost(PARTS_AT_ONCE, keys, (source) => requireSource(bucket, source));
  const parts = planParts(sources);
  const etags = new Map(sources.map(({ key: source, etag }) => [source, etag]));
  if (parts.length < 2) await put(bucket, key, await fetchPieces(bucket, parts[0] ?? [], etags));
  else await uploadParts(bucket, key, parts, etags);
}

async function requireSource({ client, name, prefix }: Bucket, key: string): Promise<Source> {
  try {
    const { ContentLength, ETag } = await client.send(new HeadObjectCommand({ Bucket: name, Key: key }));
    return { key, bytes: requireLength(ContentLength), etag: ETag };
  } catch (error) {
    if (!isMissingObject(error)) throw error;
    throw new ImmutableError(
      'not_found',
      `The object ${key.slice(prefix.length)} is not there, so nothing can be made of it.`,
    );
  }
}

function requireLength(length: number | undefined): number {
  if (length === undefined)
    throw new ImmutableError('unavailable', 'The object store does not say how long an object is.');
  return length;
}

async function uploadParts(
  bucket: Bucket,
  key: string,
  parts: readonly Piece[][],
  etags: ReadonlyMap<string, string | undefined>,
): Promise<void> {
  const { client, name, encryption } = bucket;
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ Bucket: name, Key: key, ...encryption }),
  );
  const upload = { Bucket: name, Key: key, UploadId };
  try {
    const Parts = await mapAtMost(PARTS_AT_ONCE, parts, async (pieces, index) => {
      const part = { ...upload, PartNumber: index + 1 };
      return { PartNumber: part.PartNumber, ETag: await uploadPart(bucket, part, pieces, etags) };
    });
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
  } catch (error) {
    // Its failure would hide the first one; what stays is left to the bucket's lifecycle rule.
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
    throw error;
  }
}

type PartTarget = { Bucket: string; Key: string; UploadId: string | undefined; PartNumber: number };

/** Resolves to the part's etag. */
async function uploadPart(
  bucket: Bucket,
  part: PartTarget,
  pieces: readonly Piece[],
  etags: ReadonlyMap<string, string | undefined>,
): Promise<string | undefined> {
  const [first, ...others] = pieces;
  if (first !== undefined && others.length === 0) {
    try {
      return await copyPart(bucket, part, first, etags.get(first.key));
    } catch (error) {
      if (!isNotImplemented(error)) throw error;
    }
  }
  const bytes = await fetchPieces(bucket, pieces, etags);
  const { ETag } = await bucket.client.send(
    new UploadPartCommand({ ...part, Body: bytes, ContentMD5: md5(bytes) }),
  );
  return ETag;
}

async function copyPart(
  { client, name }: Bucket,
  part: PartTarget,
  { key, start, end }: Piece,
  etag: string | undefined,
): Promise<string | undefined> {
  const { CopyPartResult } = await client.send(
    new UploadPartCopyCommand({
      ...part,
      // No letter of a key needs escaping here.
      CopySource: `${name}/${key}`,
      CopySourceRange: `bytes=${start}-${end - 1}`,
      ...(etag === undefined ? {} : { CopySourceIfMatch: etag }),
    }),
  );
  return CopyPartResult?.ETag;
}

async function fetchPieces(
  bucket: Bucket,
  pieces: readonly Piece[],
  etags: ReadonlyMap<string, string | undefined>,
): Promise<Uint8Array> {
  let length = 0;
  const placed = pieces.map((piece) => {
    length += piece.end - piece.start;
    return { ...piece, at: length - (piece.end - piece.start) };
  });
  const bytes = Buffer.allocUnsafe(length);
  await mapAtMost(PIECES_AT_ONCE, placed, async ({ key, start, end, at }) => {
    let filled = at;
    for await (const chunk of chunksOf(bucket, { key, etag: etags.get(key), position: start, end })) {
      filled += chunk.copy(bytes, filled);
    }
  });
  return bytes;
}

interface Reading {
  key: string;
  etag: string | undefined;
  position: number;
  end: number;
  /** An answer that is already there. */
  body?: Readable;
}

/** The bytes of a reading. Where the connection breaks it goes on, as often as it got any further. */
async function* chunksOf(bucket: Bucket, reading: Reading): AsyncGenerator<Buffer> {
  let failures = 0;
  while (reading.position < reading.end) {
    try {
      reading.body ??= await bodyFrom(bucket, reading);
      for await (const chunk of reading.body) {
        if (!Buffer.isBuffer(chunk)) throw new TypeError('the body of an object is not made of bytes');
        reading.position += chunk.length;
        failures = 0;
        yield chunk;
      }
      if (reading.position < reading.end)
        throw new ImmutableError('unavailable', 'An object ended too early.');
    } catch (error) {
      failures += 1;
      const translated = translateS3Error(error, bucket.name);
      if (failures === ATTEMPTS || !isUnavailable(translated)) throw translated;
    } finally {
      reading.body?.destroy();
      delete reading.body;
    }
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof ImmutableError && error.code === 'unavailable';
}

async function bodyFrom({ client, name }: Bucket, { key, etag, position, end }: Reading): Promise<Readable> {
  const { Body } = await client.send(
    new GetObjectCommand({
      Bucket: name,
      Key: key,
      Range: `bytes=${position}-${end - 1}`,
      ...(etag === undefined ? {} : { IfMatch: etag }),
    }),
  );
  return requireStream(Body);
}

function requireStream(body: unknown): Readable {
  if (body instanceof Readable) return body;
  throw new TypeError('the answer has no stream');
}

async function read(
  bucket: Bucket,
  key: string,
  range: { start: number; end?: number } | undefined,
): Promise<Readable | undefined> {
  checkRange(range);
  const { start = 0, end } = range ?? {};
  // S3 has no way to say "no bytes".
  if (start === end) return (await stat(bucket, key)) === undefined ? undefined : Readable.from([]);
  const header =
    start === 0 && end === undefined ? undefined : `bytes=${start}-${end === undefined ? '' : end - 1}`;
  try {
    const { Body, ContentLength, ETag } = await bucket.client.send(
      new GetObjectCommand({
        Bucket: bucket.name,
        Key: key,
        ...(header === undefined ? {} : { Range: header }),
      }),
    );
    const body = requireStream(Body);
    return streamOf(bucket, {
      key,
      etag: ETag,
      position: start,
      end: start + requireLength(ContentLength),
      body,
    });
  } catch (error) {
    if (isMissingObject(error)) return undefined;
    if (isBeyondTheEnd(error)) return Readable.from([]);
    throw error;
  }
}

function streamOf(bucket: Bucket, reading: Reading): Readable {
  const stream = Readable.from(chunksOf(bucket, reading), { objectMode: false });
  // A generator that was never asked for anything does not end what it was given.
  stream.once('close', () => reading.body?.destroy());
  return stream;
}

async function stat({ client, name }: Bucket, key: string): Promise<{ bytes: number } | undefined> {
  try {
    const { ContentLength } = await client.send(new HeadObjectCommand({ Bucket: name, Key: key }));
    return { bytes: requireLength(ContentLength) };
  } catch (error) {
    if (isMissingObject(error)) return undefined;
    throw error;
  }
}

async function remove({ client, name }: Bucket, keys: readonly string[]): Promise<void> {
  const all = [...new Set(keys)];
  for (let start = 0; start < all.length; start += KEYS_PER_DELETION) {
    const Objects = all.slice(start, start + KEYS_PER_DELETION).map((Key) => ({ Key }));
    const { Errors = [] } = await client.send(
      new DeleteObjectsCommand({ Bucket: name, Delete: { Objects, Quiet: true } }),
    );
    const failure = Errors.find(({ Code }) => Code !== 'NoSuchKey');
    if (failure !== undefined) throw refusal(failure.Code ?? 'unknown', undefined, name);
  }
}

async function* list(
  { client, name, prefix }: Bucket,
  wanted: string,
): AsyncGenerator<{ key: string; bytes: number; modifiedAtMs: number }> {
  checkPrefix(wanted);
  let ContinuationToken: string | undefined;
  do {
    const page = await client
      .send(
        new ListObjectsV2Command({
          Bucket: name,
          Prefix: `${prefix}${wanted}`,
          ...(ContinuationToken === undefined ? {} : { ContinuationToken }),
        }),
      )
      .catch((error: unknown) => {
        throw translateS3Error(error, name);
      });
    for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
      const key = Key.slice(prefix.length);
      // Others may keep things in the bucket: what has no key of ours is not ours.
      if (isKey(key)) yield { key, bytes: Size, modifiedAtMs: LastModified?.getTime() ?? 0 };
    }
    ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
  } while (ContinuationToken !== undefined);
}

async function presignedUrl(
  { client, name }: Bucket,
  key: string,
  {
    expiresInSeconds,
    fileName,
    contentType,
  }: { expiresInSeconds: number; fileName: string; contentType: string },
): Promise<string> {
  if (!Number.isInteger(expiresInSeconds) || expiresInSeconds < 1 || expiresInSeconds > MOST_EXPIRY_SECONDS)
    throw new RangeError(
      `an address is good for 1 to ${MOST_EXPIRY_SECONDS} seconds, not ${expiresInSeconds}`,
    );
  const command = new GetObjectCommand({
    Bucket: name,
    Key: key,
    ResponseContentDisposition: attachment(fileName),
    ResponseContentType: contentType,
  });
  return await getSignedUrl(client, command, { expiresIn: expiresInSeconds });
}

/** RFC 6266, with the name in ASCII for clients that know no other. */
function attachment(fileName: string): string {
  const plain = fileName.replace(/[^\w.\- ]/g, '_');
  const encoded = encodeURIComponent(fileName.toWellFormed()).replace(
    /['()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}

/** In order, with at most `limit` at work. After a failure none begins, and all that began have ended. */
async function mapAtMost<T, R>(
  limit: number,
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (const [index, item] of queue) {
      if (failure !== undefined) return;
      try {
        results[index] = await work(item, index);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failure !== undefined) throw failure.error;
  return results;
}
