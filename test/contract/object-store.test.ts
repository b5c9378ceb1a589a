import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { ListMultipartUploadsCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryStore } from '../../infra/object-store/directory.ts';
import { checkObjectStore, openObjectStore } from '../../infra/object-store/open.ts';
import { parseObjectStoreUrl } from '../../infra/object-store/parse-url.ts';
import { s3Store } from '../../infra/object-store/s3.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { describeNeeding, s3Server } from '../support/requirements.ts';
import { startTestS3, type TestS3 } from '../support/s3.ts';

const MIB = 1024 ** 2;
const BOUND_MS = 20_000;

/** A store under test, and the power to take it away. */
interface Subject {
  store: ObjectStore;
  away(): Promise<void>;
  back(): Promise<void>;
  stop(): Promise<void>;
}

async function bytesOf(stream: Readable | undefined): Promise<Buffer> {
  if (stream === undefined) throw new Error('there is no such object');
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** `toEqual` on megabytes takes seconds. */
function digest(bytes: Uint8Array): string {
  return `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;
}

const HOSTILE_KEYS = [
  '',
  '/',
  '/etc/passwd',
  'a/',
  'a//b',
  '.',
  '..',
  '../x',
  'a/../../x',
  'a/./b',
  'a/..',
  '~drafts/x',
  'a\0b',
  'a\\..\\b',
  'a b',
  'ä',
  '%2e%2e/x',
  `${'a'.repeat(201)}`,
  'a/'.repeat(500).slice(0, -1),
];

function contract(open: () => Promise<Subject>): void {
  let subject: Subject;
  let store: ObjectStore;

  beforeAll(async () => {
    subject = await open();
    store = subject.store;
  });
  afterAll(async () => await subject?.stop());

  it('passes the check of the start and leaves nothing of it', async () => {
    await checkObjectStore(store);
    expect(await keysOf(store, '')).toEqual([]);
  });

  it.each([0, 1, 1_000_000, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1])(
    'gives back %d bytes as they were',
    async (size) => {
      const bytes = randomBytes(size);
      await store.put('size/object', bytes);
      expect(digest(await bytesOf(await store.read('size/object')))).toBe(digest(bytes));
      expect(await store.stat('size/object')).toEqual({ bytes: size });
    },
  );

  it('puts one object in place of another, longer or shorter', async () => {
    for (const text of ['first', 'a longer one', '2nd', '']) {
      await store.put('over/it', Buffer.from(text));
      expect((await bytesOf(await store.read('over/it'))).toString()).toBe(text);
    }
  });

  it('keeps the bytes it was given, not the array they were in', async () => {
    const whole = Buffer.from('__inside__');
    await store.put('view', whole.subarray(2, 8));
    expect((await bytesOf(await store.read('view'))).toString()).toBe('inside');
  });

  it('reads ranges, also across what the store may cut objects into', async () => {
    const bytes = randomBytes(9 * MIB);
    await store.put('ranges/object', bytes);
    const ranges = [
      [0, 1],
      [0, undefined],
      [5, 5],
      [4 * MIB - 1, 4 * MIB + 1],
      [3 * MIB, 9 * MIB],
      [9 * MIB - 1, undefined],
      [9 * MIB - 1, 20 * MIB],
      [9 * MIB, undefined],
      [20 * MIB, 21 * MIB],
    ] as const;
    for (const [start, end] of ranges) {
      const read = await bytesOf(
        await store.read('ranges/object', end === undefined ? { start } : { start, end }),
      );
      expect(digest(read), `[${start}, ${end})`).toBe(digest(bytes.subarray(start, end)));
    }
    await store.put('ranges/empty', new Uint8Array());
    expect(await bytesOf(await store.read('ranges/empty', { start: 0, end: 10 }))).toHaveLength(0);
    for (const range of [{ start: -1 }, { start: 2, end: 1 }, { start: 0.5 }, { start: Number.NaN }])
      await expect(store.read('ranges/object', range)).rejects.toThrow(RangeError);
  });

  it('has nothing where nothing was put', async () => {
    expect(await store.read('missing/object')).toBeUndefined();
    expect(await store.read('missing/object', { start: 3, end: 3 })).toBeUndefined();
    expect(await store.stat('missing/object')).toBeUndefined();
    expect(await keysOf(store, 'missing/')).toEqual([]);
    await store.remove(['missing/object', 'missing/other']);
    await store.remove([]);
  });

  it('removes objects, many at once, and those that are there twice in the list', async () => {
    const keys = Array.from({ length: 1_050 }, (_, index) => `many/${index % 7}/object-${index}`);
    for (let start = 0; start < keys.length; start += 50)
      await Promise.all(keys.slice(start, start + 50).map((key) => store.put(key, Buffer.from(key))));
    // Over one page of a listing, and over one batch of a deletion.
    expect(await keysOf(store, 'many/')).toEqual([...keys].sort());
    await store.remove([...keys, 'many/0/object-0', 'many/nothing']);
    expect(await keysOf(store, 'many/')).toEqual([]);
  });

  it('lists in the order of the keys, by any beginning of them, with sizes and times', async () => {
    const keys = ['l/a', 'l/a-b/c', 'l/a.b', 'l/a/b', 'l/a0', 'l/b/c/d', 'l/b=1', 'm'].filter(
      (key) => key !== 'l/a',
    );
    for (const key of keys) await store.put(key, Buffer.from(key));
    expect(await keysOf(store, 'l')).toEqual(keys.filter((key) => key.startsWith('l')).sort());
    expect(await keysOf(store, 'l/a')).toEqual(['l/a-b/c', 'l/a.b', 'l/a/b', 'l/a0']);
    expect(await keysOf(store, 'l/a/')).toEqual(['l/a/b']);
    expect(await keysOf(store, 'l/b/c/d')).toEqual(['l/b/c/d']);
    expect(await keysOf(store, 'l/b/c/d/')).toEqual([]);
    for await (const { bytes, modifiedAtMs } of store.list('m')) {
      expect(bytes).toBe(1);
      expect(Math.abs(modifiedAtMs - Date.now())).toBeLessThan(60_000);
    }
  });

  const COMPOSITIONS: Record<string, number[]> = {
    nothing: [],
    'one empty object': [0],
    'a byte and nothing': [1, 0],
    'many small ones': Array.from({ length: 300 }, (_, index) => index * 37),
    'ones about 5 MiB': [5 * MIB - 1, 5 * MIB, 5 * MIB + 1],
    'ones of exactly the size of a part': [8 * MIB, 8 * MIB],
    'a large one': [12 * MIB],
    'small, empty, large and small': [3, 0, 20 * MIB + 7, 1, 2 * MIB],
  };

  it.each(Object.entries(COMPOSITIONS))('composes %s', async (_, sizes) => {
    const parts = sizes.map((size) => randomBytes(size));
    const keys = sizes.map((_, index) => `compose/source-${index}`);
    for (const [index, key] of keys.entries()) await store.put(key, parts[index]!);
    await store.compose('compose/out', keys);
    expect(digest(await bytesOf(await store.read('compose/out')))).toBe(digest(Buffer.concat(parts)));
    expect(await store.stat('compose/out')).toEqual({ bytes: sizes.reduce((sum, size) => sum + size, 0) });
    for (const [index, key] of keys.entries()) expect(await store.stat(key)).toEqual({ bytes: sizes[index] });
    await store.remove(keys);
  });

  it('composes one object of itself, twice', async () => {
    await store.put('self', Buffer.from('ab'));
    await store.compose('self', ['self', 'self']);
    expect((await bytesOf(await store.read('self'))).toString()).toBe('abab');
  });

  it('makes nothing of a source that is not there, and leaves what was', async () => {
    await store.put('partial/source', randomBytes(9 * MIB));
    await store.put('partial/out', Buffer.from('before'));
    await expect(store.compose('partial/out', ['partial/source', 'partial/missing'])).rejects.toMatchObject({
      code: 'not_found',
    });
    expect((await bytesOf(await store.read('partial/out'))).toString()).toBe('before');
  });

  it.each(HOSTILE_KEYS)('refuses the key %j everywhere', async (key) => {
    const refused = { code: 'bad_request' };
    await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject(refused);
    await expect(store.compose(key, [])).rejects.toMatchObject(refused);
    await expect(store.compose('fine', [key])).rejects.toMatchObject(refused);
    await expect(store.read(key)).rejects.toMatchObject(refused);
    await expect(store.stat(key)).rejects.toMatchObject(refused);
    await expect(store.remove(['fine', key])).rejects.toMatchObject(refused);
    const options = { expiresInSeconds: 60, fileName: 'x', contentType: 'text/plain' };
    await expect(store.presignedUrl(key, options)).rejects.toMatchObject(refused);
  });

  it.each(['../', '/', 'a//', 'a/../b', '\0', '~', '*'])('refuses to list %j', async (prefix) => {
    await expect(keysOf(store, prefix)).rejects.toMatchObject({ code: 'bad_request' });
  });

  it('stores one of many objects put at once under one key, whole', async () => {
    const contents = Array.from({ length: 16 }, (_, index) => Buffer.alloc(300_000, index));
    await Promise.all(contents.map((bytes) => store.put('race/key', bytes)));
    const stored = await bytesOf(await store.read('race/key'));
    expect(contents.some((bytes) => bytes.equals(stored))).toBe(true);
  });

  it('keeps objects that are put while their neighbours are removed', async () => {
    for (let round = 0; round < 20; round++) {
      await store.put('neighbours/deep/old', Buffer.from('old'));
      await Promise.all([
        store.remove(['neighbours/deep/old']),
        store.put(`neighbours/deep/new-${round}`, Buffer.from('new')),
      ]);
      expect(await store.stat(`neighbours/deep/new-${round}`)).toEqual({ bytes: 3 });
      await store.remove([`neighbours/deep/new-${round}`]);
    }
  });

  it('a stream that is not read to its end holds nothing up', async () => {
    await store.put('abandoned', randomBytes(9 * MIB));
    for (let index = 0; index < 60; index++) (await store.read('abandoned'))?.destroy();
    const stream = await store.read('abandoned');
    for await (const _ of stream!) break;
    expect(await store.stat('abandoned')).toEqual({ bytes: 9 * MIB });
  });

  it('is unavailable while it is away, in bounded time, and works again after', async () => {
    await store.put('away/a', Buffer.from('a'));
    await subject.away();
    const startedAt = performance.now();
    const unavailable = { code: 'unavailable' };
    const attempts = [
      store.put('away/b', Buffer.from('b')),
      store.compose('away/c', ['away/a']),
      store.read('away/a'),
      store.stat('away/a'),
      store.remove(['away/a']),
      keysOf(store, 'away/'),
      checkObjectStore(store),
    ];
    await Promise.all(attempts.map((attempt) => expect(attempt).rejects.toMatchObject(unavailable)));
    expect(performance.now() - startedAt).toBeLessThan(BOUND_MS);
    await subject.back();
    expect((await bytesOf(await store.read('away/a'))).toString()).toBe('a');
    expect(await keysOf(store, 'away/')).toEqual(['away/a']);
  });
}

async function openDirectory(): Promise<Subject> {
  const parent = mkdtempSync(join(tmpdir(), 'immutable-objects-'));
  const folder = join(parent, 'objects');
  return {
    store: directoryStore(folder),
    // As a disk that is no longer mounted: the folder is there and has nothing in it.
    away: async () => {
      renameSync(folder, join(parent, 'elsewhere'));
      mkdirSync(folder);
    },
    back: async () => {
      rmSync(folder, { recursive: true });
      renameSync(join(parent, 'elsewhere'), folder);
    },
    stop: async () => rmSync(parent, { recursive: true, force: true }),
  };
}

describe('an object store in a directory', () => {
  contract(openDirectory);

  describe('on the disk', () => {
    let parent: string;
    let folder: string;
    beforeAll(() => {
      parent = mkdtempSync(join(tmpdir(), 'immutable-objects-'));
      folder = join(parent, 'objects');
    });
    afterAll(() => rmSync(parent, { recursive: true, force: true }));

    it('is readable by its owner alone, and gives no addresses', async () => {
      const store = await openObjectStore({ objectStoreUrl: undefined, folder });
      await store.put('deep/er/object', Buffer.from('x'));
      const modeOf = (path: string) => (lstatSync(join(folder, path)).mode & 0o777).toString(8);
      expect(['', 'deep', 'deep/er', '~drafts'].map(modeOf)).toEqual(['700', '700', '700', '700']);
      expect(modeOf('deep/er/object')).toBe('600');
      const options = { expiresInSeconds: 60, fileName: 'x', contentType: 'text/plain' };
      expect(await store.presignedUrl('deep/er/object', options)).toBeUndefined();
    });

    it('leaves no empty folders behind', async () => {
      const store = directoryStore(folder);
      await store.put('going/away/object', Buffer.from('x'));
      await store.remove(['going/away/object']);
      expect(existsSync(join(folder, 'going'))).toBe(false);
    });

    it('follows no link, and does not list what is behind one', async () => {
      const store = directoryStore(folder);
      const outside = join(parent, 'outside');
      mkdirSync(outside);
      writeFileSync(join(outside, 'secret'), 'secret');
      symlinkSync(outside, join(folder, 'folder-link'));
      symlinkSync(join(outside, 'secret'), join(folder, 'file-link'));
      const refused = { code: 'misconfigured' };
      await expect(store.read('folder-link/secret')).rejects.toMatchObject(refused);
      await expect(store.stat('folder-link/secret')).rejects.toMatchObject(refused);
      await expect(store.put('folder-link/new', Buffer.from('x'))).rejects.toMatchObject(refused);
      await expect(store.put('folder-link/deep/new', Buffer.from('x'))).rejects.toMatchObject(refused);
      await expect(store.remove(['folder-link/secret'])).rejects.toMatchObject(refused);
      await expect(store.read('file-link')).rejects.toMatchObject(refused);
      await expect(store.compose('copy', ['file-link'])).rejects.toMatchObject(refused);
      await store.put('file-link', Buffer.from('object'));
      expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
      expect(readdirSync(outside)).toEqual(['secret']);
      expect(await keysOf(store, 'folder-link')).toEqual([]);
      expect(await keysOf(store, '')).not.toContain('folder-link/secret');
    });

    it('refuses a key that is the folder of another, and the other way round', async () => {
      const store = directoryStore(folder);
      await store.put('taken', Buffer.from('x'));
      await expect(store.put('taken/below', Buffer.from('x'))).rejects.toMatchObject({ code: 'conflict' });
      await store.put('a-folder/object', Buffer.from('x'));
      await expect(store.put('a-folder', Buffer.from('x'))).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.stat('taken/below')).toBeUndefined();
      expect(await store.read('a-folder')).toBeUndefined();
      expect(readdirSync(join(folder, '~drafts'))).toEqual([]);
    });

    it('cannot be where a file is', () => {
      const file = join(parent, 'a-file');
      writeFileSync(file, '');
      expect(() => directoryStore(file)).toThrow(expect.objectContaining({ code: 'misconfigured' }));
    });

    it.each(['put', 'compose'])(
      'killed in the middle of %s has the old object or the new one',
      async (method) => {
        const size = 4 * MIB;
        let interrupted = 0;
        for (let round = 0; round < 12; round++) {
          const child = await startWriter(folder, method, size);
          await new Promise((resolve) => setTimeout(resolve, 20 + round * 7));
          await kill9(child);
          interrupted += readdirSync(join(folder, '~drafts')).length;
          const store = directoryStore(folder);
          const bytes = await bytesOf(await store.read('crash/object'));
          expect(bytes.length).toBe(size);
          expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
          expect(readdirSync(join(folder, '~drafts'))).toEqual([]);
          expect((await keysOf(store, 'crash/')).every((key) => /^crash\/(object|\d+)$/.test(key))).toBe(
            true,
          );
        }
        expect(interrupted).toBeGreaterThan(0);
      },
    );

    it('leaves the drafts of those who still write', async () => {
      const child = await startWriter(folder, 'put', 64 * MIB);
      const store = directoryStore(folder);
      for (let index = 0; index < 20; index++) directoryStore(folder);
      // It would have ended by itself if a draft of its had been taken away.
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(child.exitCode).toBeNull();
      await kill9(child);
      expect((await store.stat('crash/object'))?.bytes).toBe(64 * MIB);
    });
  });
});

/** Stores objects of one repeated byte under one key without pause. Resolves once the first is there. */
async function startWriter(folder: string, method: string, size: number): Promise<ChildProcess> {
  const module = pathToFileURL(join(process.cwd(), 'dist/infra/object-store/directory.js')).href;
  const program = `
    const { directoryStore } = await import(${JSON.stringify(module)});
    const store = directoryStore(${JSON.stringify(folder)});
    for (let round = 0; ; round++) {
      const byte = round % 256;
      if (${JSON.stringify(method)} === 'put') await store.put('crash/object', Buffer.alloc(${size}, byte));
      else {
        await store.put('crash/' + byte, Buffer.alloc(${size / 4}, byte));
        await store.compose('crash/object', Array(4).fill('crash/' + byte));
      }
      if (round === 1) process.stdout.write('ready');
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', (code) => reject(new Error(`the writer ended with ${code}`)));
  });
  return child;
}

async function kill9(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

await describeNeeding(s3Server, 'an object store in S3', () => {
  const servers: TestS3[] = [];

  async function openS3(): Promise<Subject> {
    const server = await startTestS3();
    servers.push(server);
    Object.assign(process.env, server.credentials);
    return {
      store: await openObjectStore({ objectStoreUrl: server.url, folder: '' }),
      away: () => server.kill9(),
      back: () => server.restart(),
      stop: async () => {},
    };
  }

  function server(): TestS3 {
    const [first] = servers;
    if (first === undefined) throw new Error('no server was started');
    return first;
  }

  afterAll(async () => {
    for (const started of servers) await started.stop();
  });

  contract(openS3);

  describe('of its own', () => {
    const open = (url: string) => openObjectStore({ objectStoreUrl: url, folder: '' });

    it('keeps to its prefix', async () => {
      const [one, other] = [
        await open(server().url.replace('?', '/one?')),
        await open(server().url.replace('?', '/one/more?')),
      ];
      await one.put('key', Buffer.from('one'));
      await other.put('key', Buffer.from('other'));
      expect((await bytesOf(await one.read('key'))).toString()).toBe('one');
      expect(await keysOf(other, '')).toEqual(['key']);
      expect(await keysOf(one, '')).toEqual(['key', 'more/key']);
      await other.compose('composed', ['key', 'key']);
      expect((await bytesOf(await other.read('composed'))).toString()).toBe('otherother');
    });

    it('is a server that compares checksums, as we count on', async () => {
      const { bucket, client } = server();
      const wrong = {
        Bucket: bucket,
        Key: 'checked',
        Body: 'x',
        ContentMD5: Buffer.alloc(16).toString('base64'),
      };
      await expect(client().send(new PutObjectCommand(wrong))).rejects.toMatchObject({ name: 'BadDigest' });
    });

    it('says that a secret is wrong, without showing it', async () => {
      const right = process.env.AWS_SECRET_ACCESS_KEY;
      process.env.AWS_SECRET_ACCESS_KEY = 'not-the-secret-but-secret';
      try {
        const failure = await checkObjectStore(await open(server().url)).catch((error: unknown) => error);
        expect(failure).toMatchObject({
          code: 'misconfigured',
          message: expect.stringContaining('credentials'),
          nextStep: expect.stringContaining('AWS_SECRET_ACCESS_KEY'),
        });
        expect(JSON.stringify(failure) + String(failure)).not.toContain('not-the-secret');
      } finally {
        process.env.AWS_SECRET_ACCESS_KEY = right;
      }
    });

    it('says that a bucket is missing', async () => {
      const url = server().url.replace(server().bucket, 'no-such-bucket');
      await expect(checkObjectStore(await open(url))).rejects.toMatchObject({
        code: 'misconfigured',
        message: expect.stringContaining('no-such-bucket'),
      });
    });

    it('gives addresses that anybody may fetch, as a file of that name', async () => {
      const store = await open(server().url);
      await store.put('shared/object', Buffer.from('a,b\n'));
      const url = await store.presignedUrl('shared/object', {
        expiresInSeconds: 60,
        fileName: 'Märchen "1"; x=\r\ny.csv',
        contentType: 'text/csv; charset=utf-8',
      });
      const response = await fetch(url!);
      expect(response.status).toBe(200);
      expect(await response.text()).toBe('a,b\n');
      expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
      expect(response.headers.get('content-disposition')).toBe(
        `attachment; filename="M_rchen _1__ x___y.csv"; filename*=UTF-8''M%C3%A4rchen%20%221%22%3B%20x%3D%0D%0Ay.csv`,
      );
    });

    it('gives addresses that are good for nothing else and no longer', async () => {
      const store = await open(server().url);
      await store.put('shared/a', Buffer.from('a'));
      await store.put('shared/b', Buffer.from('b'));
      const options = { expiresInSeconds: 1, fileName: 'a', contentType: 'text/plain' };
      const url = (await store.presignedUrl('shared/a', options)) ?? '';
      const altered = [
        url.replace('shared/a', 'shared/b'),
        url.replace('Expires=1&', 'Expires=1000&'),
        url.replace('text%2Fplain', 'text%2Fhtml'),
        url.replace(/Signature=./, (text) => (text.endsWith('0') ? 'Signature=1' : 'Signature=0')),
      ];
      for (const address of altered) {
        expect(address).not.toBe(url);
        expect((await fetch(address)).status).toBe(403);
      }
      await new Promise((resolve) => setTimeout(resolve, 2_100));
      expect((await fetch(url)).status).toBe(403);
      for (const expiresInSeconds of [0, 1.5, 8 * 86_400])
        await expect(store.presignedUrl('shared/a', { ...options, expiresInSeconds })).rejects.toThrow(
          RangeError,
        );
    });

    it('a composition that fails leaves no unfinished upload, and no object', async () => {
      const { bucket, client } = server();
      const s3 = client();
      const uploads = async () =>
        (await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0;
      const store = await open(server().url);
      await store.put('abort/large', randomBytes(20 * MIB));
      const composing = store.compose('abort/out', Array<string>(12).fill('abort/large'));
      const failure = expect(composing).rejects.toMatchObject({ code: 'unavailable' });
      await expect.poll(uploads, { interval: 5 }).toBe(1);
      await store.remove(['abort/large']);
      await failure;
      expect(await uploads()).toBe(0);
      expect(await store.stat('abort/out')).toBeUndefined();
    });

    it('goes on with a stream where the connection broke', async () => {
      const bytes = randomBytes(24 * MIB);
      const store = await open(server().url);
      await store.put('broken/object', bytes);
      const stream = await store.read('broken/object');
      const chunks: Buffer[] = [];
      let restarted = false;
      for await (const chunk of stream!) {
        chunks.push(chunk);
        if (!restarted) await server().restart();
        restarted = true;
      }
      expect(digest(Buffer.concat(chunks))).toBe(digest(bytes));
    });

    it('does not mix an object with one that replaced it', async () => {
      const store = await open(server().url);
      await store.put('replaced/object', Buffer.alloc(24 * MIB, 1));
      const stream = await store.read('replaced/object');
      const reading = (async () => {
        let restarted = false;
        for await (const chunk of stream!) {
          if (restarted && chunk.includes(2)) throw new Error('mixed');
          if (restarted) continue;
          restarted = true;
          await server().restart();
          await store.put('replaced/object', Buffer.alloc(24 * MIB, 2));
        }
      })();
      await expect(reading).rejects.toMatchObject({ code: 'unavailable' });
    });

    it('gives up on a server that accepts and says nothing', async () => {
      const store = s3Store(parseObjectStoreUrl(server().url), { requestTimeoutMs: 500 });
      await server().freeze();
      try {
        const startedAt = performance.now();
        await expect(store.stat('frozen')).rejects.toMatchObject({ code: 'unavailable' });
        expect(performance.now() - startedAt).toBeLessThan(5_000);
      } finally {
        server().resume();
      }
      await expect.poll(() => store.stat('frozen').catch(() => 'away')).toBeUndefined();
    });
  });
});
