import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKeyRing, newToken, tokenHash } from '../../control/keys.ts';
import type { SigningKeys } from '../../control/signing-keys.ts';
import { base64Encode } from '../../core/bytes.ts';
import { eventHash } from '../../core/chain.ts';
import {
  parseCheckpoint,
  parseVerifierKey,
  type VerifierKey,
  verifierKeyOf,
  verifyNote,
} from '../../core/checkpoint.ts';
import { verifyEvidence } from '../../core/evidence.ts';
import { rootIn, tileKey, tilePath, tileWidth } from '../../core/tile.ts';
import { leafHash, treeRoot, verifyConsistency } from '../../core/tree.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import type { HttpServer } from '../../infra/http/types.ts';
import { createLogger } from '../../infra/log.ts';
import { clickHouseTreeStore } from '../../pipeline/tree/clickhouse-store.ts';
import { proofRoutes } from '../../query/proofs/routes.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { LOG_ORIGIN, storeTree, testLog } from '../support/tree.ts';

const WORKSPACE = 'ws_00000000000000a1';
/** With a log that anybody may read. */
const OPEN = 'ws_00000000000000b2';
const EMPTY = 'ws_00000000000000e0';
/** Its oldest events were archived. */
const ARCHIVED = 'ws_00000000000000f0';
/** Its events have a hundred thousand bytes each. */
const HUGE = 'ws_00000000000000c3';
const SEED = new Uint8Array(32).fill(5);
const SIZE = 700;
/** Events that are stored and not signed yet. */
const UNSIGNED = 5;
const DAY_MICROS = 24 * 3600 * 1_000_000;

const SIGNING_KEYS: SigningKeys = {
  keys: [
    {
      public_key: base64Encode(verifierKeyOf({ name: 'log', seed: SEED }).publicKey),
      sealed_seed: 'sealed',
      created_at: '2026-01-01T00:00:00.000000Z',
      signs_until: null,
    },
  ],
};

let clickhouse: TestClickHouse;
let admin: ClickHouseClient;
let reader: ClickHouseClient;
let server: HttpServer;
let events: SeededEvent[];
let openEvents: SeededEvent[];
let hugeEvents: SeededEvent[];
let retainedFrom: number | undefined;
let signingKeys: SigningKeys | undefined = SIGNING_KEYS;
let nowMs = Date.now();
const keyRing = createKeyRing();

function keyOf(workspaceId: string, scope: 'read' | 'ingest' | 'manage' = 'read'): string {
  const token = newToken();
  keyRing.set(tokenHash(token), {
    id: 'key_0000000000000001',
    workspace_id: workspaceId,
    scopes: [scope],
    label: '',
    prefix: token.slice(0, 12),
    created_at: '2026-01-01T00:00:00.000000Z',
    expires_at: null,
    revoked_at: null,
  });
  return token;
}

beforeAll(async () => {
  clickhouse = await startTestClickHouse();
  admin = connectClickHouse(clickhouse.adminUrl);
  reader = connectClickHouse(clickhouse.readerUrl);
  events = chainEvents(WORKSPACE, variedEvents(SIZE + UNSIGNED, randomFrom(1)));
  openEvents = chainEvents(OPEN, variedEvents(300, randomFrom(2)), { random: randomFrom(22) });
  const archived = chainEvents(ARCHIVED, variedEvents(600, randomFrom(3)), { random: randomFrom(33) });
  hugeEvents = chainEvents(
    HUGE,
    Array.from({ length: 120 }, (_, number) => ({
      action: 'document.viewed',
      actor_id: 'user_1',
      metadata: { note: 'ü'.repeat(50_000), number },
    })),
    { random: randomFrom(44) },
  );
  for (const [workspaceId, seeded, sizes] of [
    [WORKSPACE, events, [1, 255, 256, 257, 511, 512, SIZE]],
    [OPEN, openEvents, [300]],
    [ARCHIVED, archived, [600]],
    [HUGE, hugeEvents, [120]],
  ] as const) {
    await insertSeeded(admin, seeded);
    await storeTree(admin, testLog(workspaceId, SEED), seeded, sizes);
  }
  // A process that died before it signed them has left the tile of all events.
  const beyond = leavesOf(events).slice(512);
  await clickHouseTreeStore(admin).writeTiles([
    { workspaceId: WORKSPACE, level: 0, index: 2, width: beyond.length, hashes: Buffer.concat(beyond) },
  ]);
  await admin.command({
    query: `ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${ARCHIVED}' AND seq <= 300`,
    clickhouse_settings: { mutations_sync: '2' },
  });
  server = await startHttpServer({
    kind: 'node',
    host: '127.0.0.1',
    port: 0,
    routes: proofRoutes({
      clickhouse: reader,
      keyRing,
      signingKeys: () => signingKeys,
      logOrigin: LOG_ORIGIN,
      isLogPublic: (workspaceId) => workspaceId === OPEN,
      retainedFrom: () => retainedFrom,
      clientAddress: (request) => request.header('x-test-address') ?? 'test',
      now: () => nowMs,
    }),
    log: createLogger('query', 'silent'),
  });
});
afterAll(async () => {
  await server?.close(0);
  await admin?.close();
  await reader?.close();
  await clickhouse?.stop();
});

function leavesOf(of: readonly SeededEvent[]): Uint8Array[] {
  return of.map((event) => leafHash(Buffer.from(event.eventHash, 'hex'), nativeHasher));
}

async function get(path: string, token?: string, headers: Record<string, string> = {}): Promise<Response> {
  const authorization: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token}` };
  return await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, {
    headers: { ...authorization, ...headers },
  });
}

async function json<T>(path: string, token?: string, status = 200): Promise<T> {
  const response = await get(path, token);
  const body = (await response.json()) as T;
  expect(response.status, JSON.stringify(body)).toBe(status);
  return body;
}

async function bytes(path: string, token?: string): Promise<Uint8Array> {
  const response = await get(path, token);
  expect(response.status, path).toBe(200);
  return new Uint8Array(await response.arrayBuffer());
}

/** As somebody would who trusts what is published. */
async function publishedKeysOf(workspaceId: string): Promise<VerifierKey[]> {
  const { data } = await json<{ data: { keys: { verifier_key: string }[] } }>(
    `/public/keys?workspace_id=${workspaceId}`,
  );
  return data.keys.flatMap(({ verifier_key }) => parseVerifierKey(verifier_key) ?? []);
}

async function verifiedCheckpoint(path: string, workspaceId: string, token?: string) {
  const response = await get(path, token);
  expect(response.status).toBe(200);
  const verdict = verifyNote(await response.text(), await publishedKeysOf(workspaceId));
  const checkpoint = verdict.ok ? parseCheckpoint(verdict.text) : null;
  expect(checkpoint?.origin).toBe(`${LOG_ORIGIN}/${workspaceId}`);
  return {
    size: checkpoint?.size ?? 0,
    root: checkpoint?.root ?? new Uint8Array(),
    headers: response.headers,
  };
}

const PRIVATE_FOREVER = 'private, max-age=31536000, immutable';

describe('the checkpoint', () => {
  test('is the newest that was signed, and verifies by the published key', async () => {
    const { size, root, headers } = await verifiedCheckpoint('/checkpoint', WORKSPACE, keyOf(WORKSPACE));
    expect(size).toBe(SIZE);
    expect(Buffer.from(root)).toEqual(Buffer.from(treeRoot(leavesOf(events.slice(0, SIZE)), nativeHasher)));
    expect(headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(headers.get('cache-control')).toBe('private, no-cache');
    expect(headers.get('vary')).toBe('Authorization');
    expect(headers.get('access-control-allow-origin')).toBeNull();
  });

  test('is not found before the first was signed', async () => {
    expect(await json('/checkpoint', keyOf(EMPTY), 404)).toMatchObject({ error: 'not_found' });
    expect(await json('/consistency?first=1', keyOf(EMPTY), 404)).toMatchObject({ error: 'not_found' });
    expect(await json('/log/events', keyOf(EMPTY), 404)).toMatchObject({ error: 'not_found' });
    expect(await json('/tile/0/000.p/1', keyOf(EMPTY), 404)).toMatchObject({ error: 'not_found' });
  });
});

describe('tiles', () => {
  test('are those of the checkpoint: its root can be computed from them', async () => {
    const token = keyOf(WORKSPACE);
    const { size, root } = await verifiedCheckpoint('/checkpoint', WORKSPACE, token);
    const tiles = new Map<string, Uint8Array>();
    for (let level = 0; size >= 256 ** level; level += 1) {
      for (let index = 0; tileWidth({ level, index }, size) > 0; index += 1) {
        const width = tileWidth({ level, index }, size);
        const tile = await bytes(`/${tilePath({ level, index, width })}`, token);
        expect(tile).toHaveLength(32 * width);
        tiles.set(tileKey({ level, index }), tile);
      }
    }
    expect([...tiles.keys()].sort()).toEqual(['0/0', '0/1', '0/2', '1/0']);
    expect(Buffer.from(rootIn(tiles, size, nativeHasher))).toEqual(Buffer.from(root));
  });

  test('of entries hold what the leaves are hashes of', async () => {
    const token = keyOf(WORKSPACE);
    for (const [index, width] of [
      [0, 256],
      [2, 188],
      [2, 1],
    ] as const) {
      const path = width === 256 ? `00${index}` : `00${index}.p/${width}`;
      const leaves = await bytes(`/tile/0/${path}`, token);
      const bundle = Buffer.from(await bytes(`/tile/entries/${path}`, token));
      expect(bundle).toHaveLength(34 * width);
      for (let at = 0; at < width; at += 1) {
        expect(bundle.readUInt16BE(34 * at)).toBe(32);
        const hash = leafHash(bundle.subarray(34 * at + 2, 34 * at + 34), nativeHasher);
        expect(Buffer.from(hash)).toEqual(Buffer.from(leaves.slice(32 * at, 32 * at + 32)));
      }
    }
  });

  test('are given in every width that the log once had, and in none it has not yet', async () => {
    const token = keyOf(WORKSPACE);
    const edge = await bytes('/tile/0/002.p/188', token);
    for (const width of [1, 100, 187]) {
      expect(await bytes(`/tile/0/002.p/${width}`, token)).toEqual(edge.slice(0, 32 * width));
    }
    expect(await bytes('/tile/0/000.p/255', token)).toHaveLength(32 * 255);
    // What is stored beyond the checkpoint is not shown: the tile has 193 hashes.
    for (const path of [
      '0/002.p/189',
      '0/002.p/193',
      '0/002',
      '0/003.p/1',
      '1/000.p/3',
      '2/000.p/1',
      '1/000',
    ]) {
      expect(await json(`/tile/${path}`, token, 404)).toMatchObject({ error: 'not_found' });
    }
    for (const path of ['entries/002.p/189', 'entries/003.p/1']) await json(`/tile/${path}`, token, 404);
  });

  test('have one path each', async () => {
    const token = keyOf(WORKSPACE);
    for (const path of [
      '0/0',
      '0/00',
      '0/0000',
      '0/x000/000',
      '00/000',
      '-1/000',
      '64/000',
      '0/000.p/0',
      '0/000.p/256',
      '0/000.p/01',
      '0/000.p',
      '0/000/',
      '0/000.p/1/1',
      'entries/0',
      'data/000',
      '0/%30%30%30',
      '0/000%2Ep/1',
      '0/x999/x999/x999/x999/x999/x999/999',
    ]) {
      expect((await get(`/tile/${path}`, token)).status, path).toBe(404);
    }
  });

  test('say to caches that a key sees its own alone, for ever', async () => {
    for (const path of ['0/000', '0/002.p/188', 'entries/000']) {
      const { headers } = await get(`/tile/${path}`, keyOf(WORKSPACE));
      expect(headers.get('cache-control')).toBe(PRIVATE_FOREVER);
      expect(headers.get('vary')).toBe('Authorization');
      expect(headers.get('content-type')).toBe('application/octet-stream');
      expect(headers.get('access-control-allow-origin')).toBeNull();
    }
    for (const path of ['0/002', '0/0', 'entries/009']) {
      const { headers } = await get(`/tile/${path}`, keyOf(WORKSPACE));
      expect(headers.get('cache-control') ?? '').not.toMatch(/immutable|max-age/);
    }
  });

  test('are those of the key’s workspace, whoever asked before', async () => {
    const [own, other] = [keyOf(WORKSPACE), keyOf(OPEN)];
    const expected = (of: SeededEvent[]) => Buffer.concat(leavesOf(of).slice(0, 256));
    for (const [token, of] of [
      [own, events],
      [other, openEvents],
      [own, events],
      [other, openEvents],
    ] as const) {
      expect(Buffer.from(await bytes('/tile/0/000', token)).equals(expected(of))).toBe(true);
    }
  });

  test('stay when their events were archived, whose entries are gone', async () => {
    const token = keyOf(ARCHIVED);
    expect(await bytes('/tile/0/000', token)).toHaveLength(256 * 32);
    expect(await json('/tile/entries/000', token, 410)).toMatchObject({ error: 'gone' });
    expect(await json('/tile/entries/001', token, 410)).toMatchObject({ error: 'gone' });
    expect(await bytes('/tile/entries/002.p/88', token)).toHaveLength(88 * 34);
  });
});

describe('evidence', () => {
  test('of every event verifies by the published key', async () => {
    const token = keyOf(WORKSPACE);
    const verifierKeys = await publishedKeysOf(WORKSPACE);
    for (const seq of [1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 640, 699, 700]) {
      const { event } = events[seq - 1]!;
      const response = await get(`/events/${event.id.toUpperCase()}/proof`, token);
      const evidence = (await response.json()) as { event: { seq: number; private?: string } };
      expect(response.headers.get('cache-control')).toBe('private, no-cache');
      expect(response.headers.get('vary')).toBe('Authorization');
      const { verdict, checks } = verifyEvidence(evidence, { verifierKeys });
      expect(verdict, JSON.stringify(checks)).toBe('valid');
      expect(evidence.event.seq).toBe(seq);
      expect(evidence.event.private).toBe(events[seq - 1]!.private);
      expect(checks.filter(({ outcome }) => outcome === 'skipped').map(({ name }) => name)).toEqual([
        'witnesses',
        'anchor',
      ]);
    }
  });

  test('without personal data verifies too, and has none', async () => {
    const token = keyOf(WORKSPACE);
    const { event, private: privateText, salt } = events[41]!;
    const evidence = await json<{ event: Record<string, unknown> }>(
      `/events/${event.id}/proof?private=false`,
      token,
    );
    expect(Object.keys(evidence.event)).not.toContain('private');
    expect(Object.keys(evidence.event)).not.toContain('salt');
    expect(JSON.stringify(evidence)).not.toContain(salt);
    expect(JSON.stringify(evidence)).not.toContain(JSON.stringify(privateText).slice(1, -1));
    const { verdict, checks } = verifyEvidence(evidence, { verifierKeys: await publishedKeysOf(WORKSPACE) });
    expect(verdict).toBe('valid');
    expect(checks.find(({ name }) => name === 'private')?.outcome).toBe('skipped');
    await json(`/events/${event.id}/proof?private=true`, token);
    for (const wrong of ['no', '0', 'FALSE']) {
      expect(await json(`/events/${event.id}/proof?private=${wrong}`, token, 422)).toMatchObject({
        violations: [{ path: 'private' }],
      });
    }
  });

  test('does not verify by another workspace’s key, nor by none', async () => {
    const evidence = await json(`/events/${events[0]!.event.id}/proof`, keyOf(WORKSPACE));
    expect(verifyEvidence(evidence, { verifierKeys: await publishedKeysOf(OPEN) }).verdict).toBe(
      'unknown_signer',
    );
  });

  test('is not found for an id of another workspace, of nobody, or that is none', async () => {
    const own = keyOf(WORKSPACE);
    const message = { error: 'not_found', message: 'There is no event with this id.' };
    for (const id of [
      openEvents[0]!.event.id,
      '0195b5a0-0000-7000-8000-00000000abcd',
      'none',
      "'%20OR%201=1",
    ]) {
      expect(await json(`/events/${id}/proof`, own, 404)).toMatchObject(message);
    }
  });

  test('is there with the next checkpoint where none has the event yet', async () => {
    const response = await get(`/events/${events[SIZE]!.event.id}/proof`, keyOf(WORKSPACE));
    expect(response.status).toBe(404);
    expect(response.headers.get('retry-after')).toBe('5');
  });

  test('is not shown of what is past its retention', async () => {
    retainedFrom = events[100]!.createdAtMicros;
    const token = keyOf(WORKSPACE);
    await json(`/events/${events[100]!.event.id}/proof`, token);
    expect(await json(`/events/${events[99]!.event.id}/proof`, token, 404)).toMatchObject({
      error: 'not_found',
    });
    retainedFrom = undefined;
    await json(`/events/${events[99]!.event.id}/proof`, token);
  });
});

describe('consistency', () => {
  test('holds between any two sizes', async () => {
    const token = keyOf(WORKSPACE);
    const leaves = leavesOf(events);
    const rootOf = (size: number) => treeRoot(leaves.slice(0, size), nativeHasher);
    const random = randomFrom(7);
    const pairs = [
      [1, 1],
      [1, SIZE],
      [SIZE, SIZE],
      [256, 512],
      [255, 257],
      ...Array.from({ length: 100 }, () => {
        const sizes = [1 + Math.floor(random() * SIZE), 1 + Math.floor(random() * SIZE)];
        return sizes.sort((a, b) => a - b);
      }),
    ];
    for (const [first = 0, second = 0] of pairs) {
      const { data } = await json<{ data: { first: number; second: number; path: string[] } }>(
        `/consistency?first=${first}&second=${second}`,
        token,
      );
      expect(data).toMatchObject({ first, second });
      const proof = {
        firstSize: first,
        secondSize: second,
        path: data.path.map((hash) => Buffer.from(hash, 'hex')),
      };
      expect(verifyConsistency(proof, rootOf(first), rootOf(second), nativeHasher)).toBe(true);
      if (first < second) {
        expect(verifyConsistency(proof, rootOf(second), rootOf(first), nativeHasher)).toBe(false);
      }
    }
  });

  test('is with the newest checkpoint unless another size is named', async () => {
    const { data } = await json<{ data: { second: number } }>('/consistency?first=3', keyOf(WORKSPACE));
    expect(data.second).toBe(SIZE);
  });

  test('is refused for sizes that there are not', async () => {
    const token = keyOf(WORKSPACE);
    for (const [query, path] of [
      ['', 'first'],
      ['?first=0', 'first'],
      ['?first=-1', 'first'],
      ['?first=x', 'first'],
      [`?first=${SIZE + 1}`, 'first'],
      [`?first=1&second=${SIZE + 1}`, 'second'],
      ['?first=9&second=8', 'first'],
      ['?first=1&second=0', 'second'],
    ] as const) {
      const refused = await json<{ violations: { path: string }[] }>(`/consistency${query}`, token, 422);
      expect(refused.violations.map((violation) => violation.path)).toEqual([path]);
    }
  });
});

interface Line {
  seq: number;
  created_at: string;
  body: string;
  private: string;
  event_hash: string;
  previous_event_hash: string;
}

async function logLines(query: string, token: string): Promise<Line[]> {
  const response = await get(`/log/events${query}`, token);
  const text = await response.text();
  expect(response.status, text.slice(0, 300)).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  expect(response.headers.get('cache-control')).toBe('private, no-cache');
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

describe('the log', () => {
  test('gives the events in the order of the chain, with what they were hashed from, and none that is not signed', async () => {
    const lines = await logLines('', keyOf(WORKSPACE));
    expect(lines.map(({ seq }) => seq)).toEqual(Array.from({ length: SIZE }, (_, index) => index + 1));
    for (const [index, line] of lines.entries()) {
      const previous = lines[index - 1]?.event_hash ?? '';
      expect(line.previous_event_hash).toBe(previous);
      expect(eventHash(previous, line.seq, line.created_at, line.body, nativeHasher)).toBe(line.event_hash);
      expect(line.private).toBe(events[index]!.private);
    }
  });

  test('gives as many as are asked for, from where they are', async () => {
    const token = keyOf(WORKSPACE);
    const seqs = async (query: string) => (await logLines(query, token)).map(({ seq }) => seq);
    expect(await seqs('?first=1&limit=1')).toEqual([1]);
    expect(await seqs('?first=256&limit=3')).toEqual([256, 257, 258]);
    expect(await seqs(`?first=${SIZE - 1}&limit=100000`)).toEqual([SIZE - 1, SIZE]);
    expect(await seqs(`?first=${SIZE + 1}`)).toEqual([]);
    expect(await seqs('?first=9007199254740991')).toEqual([]);
    for (const wrong of ['first=0', 'first=x', 'limit=0', 'limit=100001', 'first=9007199254740992']) {
      await json(`/log/events?${wrong}`, token, 422);
    }
  });

  test('gives events of any size, page by page', async () => {
    const lines = await logLines('', keyOf(HUGE));
    expect(lines.map(({ seq }) => seq)).toEqual(Array.from({ length: 120 }, (_, index) => index + 1));
    expect(lines.map(({ event_hash }) => event_hash)).toEqual(hugeEvents.map((event) => event.eventHash));
  });

  test('begins with the oldest that is kept', async () => {
    const lines = await logLines('?first=10', keyOf(ARCHIVED));
    expect(lines[0]?.seq).toBe(301);
    expect(lines).toHaveLength(300);
  });

  test('does not show what is past its retention', async () => {
    retainedFrom = events[100]!.createdAtMicros;
    const lines = await logLines('', keyOf(WORKSPACE));
    retainedFrom = undefined;
    expect(lines[0]?.seq).toBe(101);
    expect(lines).toHaveLength(SIZE - 100);
    retainedFrom = events.at(-1)!.createdAtMicros + DAY_MICROS;
    expect(await logLines('', keyOf(WORKSPACE))).toEqual([]);
    retainedFrom = undefined;
  });
});

describe('the public form', () => {
  test('is there for workspaces that want it, for everyone and every cache', async () => {
    const { size, root, headers } = await verifiedCheckpoint(`/public/logs/${OPEN}/checkpoint`, OPEN);
    expect(size).toBe(300);
    expect(headers.get('cache-control')).toBe('public, max-age=2');
    expect(headers.get('vary')).toBeNull();
    const tiles = new Map<string, Uint8Array>();
    for (const [key, path] of [
      ['0/0', '0/000'],
      ['0/1', '0/001.p/44'],
      ['1/0', '1/000.p/1'],
    ] as const) {
      const response = await get(`/public/logs/${OPEN}/tile/${path}`);
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      tiles.set(key, new Uint8Array(await response.arrayBuffer()));
    }
    expect(Buffer.from(rootIn(tiles, 300, nativeHasher))).toEqual(Buffer.from(root));
    expect((await get(`/public/logs/${OPEN}/tile/entries/000`)).status).toBe(200);
    expect((await get(`/public/logs/${OPEN}/tile/0/001`)).status).toBe(404);
  });

  test('is not for the others, nor told from those that are not there, key or no key', async () => {
    const answers = [];
    for (const workspaceId of [WORKSPACE, EMPTY, 'ws_ffffffffffffffff', '..', '%2e%2e', `${OPEN}%2f..`]) {
      for (const path of ['checkpoint', 'tile/0/000', 'tile/entries/000']) {
        const response = await get(`/public/logs/${workspaceId}/${path}`, keyOf(WORKSPACE));
        expect(response.headers.get('cache-control') ?? '').not.toContain('public');
        answers.push(response.status);
      }
    }
    expect(new Set(answers)).toEqual(new Set([404]));
    expect((await get(`/public/logs/${OPEN}/log/events`)).status).toBe(404);
  });

  test('is limited by address', async () => {
    const path = `/public/logs/${OPEN}/checkpoint`;
    const asked = await Promise.all(
      Array.from({ length: 650 }, () => get('/public/keys', undefined, { 'x-test-address': 'greedy' })),
    );
    expect(asked.filter(({ status }) => status === 200)).toHaveLength(600);
    const refused = await get(path, undefined, { 'x-test-address': 'greedy' });
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect((await get(path, undefined, { 'x-test-address': 'modest' })).status).toBe(200);
    nowMs += 1_000;
    expect((await get(path, undefined, { 'x-test-address': 'greedy' })).status).toBe(200);
  });
});

describe('the published keys', () => {
  test('are shown to everyone, with the name of a log where one is asked for', async () => {
    const response = await get('/public/keys');
    expect(response.headers.get('cache-control')).toBe('public, max-age=60');
    const { data } = (await response.json()) as { data: { log_origin: string; keys: object[] } };
    expect(data.log_origin).toBe(LOG_ORIGIN);
    expect(data.keys).toEqual([
      {
        algorithm: 'Ed25519',
        public_key: SIGNING_KEYS.keys[0]!.public_key,
        created_at: '2026-01-01T00:00:00.000000Z',
        signs_until: null,
      },
    ]);
    const [key] = await publishedKeysOf(WORKSPACE);
    expect(key).toEqual(verifierKeyOf({ name: `${LOG_ORIGIN}/${WORKSPACE}`, seed: SEED }));
  });

  test('are none before the first was made', async () => {
    signingKeys = undefined;
    expect(await json('/public/keys')).toMatchObject({ data: { keys: [] } });
    signingKeys = SIGNING_KEYS;
  });

  test('have a name for no log that cannot be', async () => {
    for (const workspaceId of ['a+b', 'a%20b', 'a%0Ab', 'a/b', 'ws_1']) {
      expect(await json(`/public/keys?workspace_id=${workspaceId}`, undefined, 422)).toMatchObject({
        violations: [{ path: 'workspace_id' }],
      });
    }
  });
});

describe('every route with a key', () => {
  const paths = () => [
    '/checkpoint',
    '/tile/0/000',
    '/tile/entries/000',
    `/events/${events[0]!.event.id}/proof`,
    '/consistency?first=1',
    '/log/events?limit=1',
  ];

  test('wants one', async () => {
    for (const path of paths()) {
      await json(path, undefined, 401);
      await json(path, 'imk_nonsense', 401);
    }
  });

  test('wants the scope read', async () => {
    for (const path of paths()) {
      await json(path, keyOf(WORKSPACE, 'ingest'), 403);
      await json(path, keyOf(WORKSPACE, 'manage'), 403);
      expect((await get(path, keyOf(WORKSPACE))).status, path).toBe(200);
    }
  });
});

/** The last: a tile is lost, and then ClickHouse is away. */
describe('what cannot be answered', () => {
  test('is said to be our fault where tiles are lost, without a trace of why', async () => {
    await admin.command({
      query: `ALTER TABLE ${TABLES.tiles} DELETE WHERE workspace_id = '${OPEN}'`,
      clickhouse_settings: { mutations_sync: '2' },
    });
    const token = keyOf(OPEN);
    for (const path of [
      '/consistency?first=257',
      `/events/${openEvents[270]!.event.id}/proof`,
      '/tile/0/001.p/44',
    ]) {
      const { error, message } = await json<{ error: string; message: string }>(path, token, 500);
      expect(error).toBe('internal');
      expect(message).not.toMatch(/tile/i);
    }
  });

  test('is to be asked again while ClickHouse is away', async () => {
    await clickhouse.kill9();
    for (const path of [
      '/checkpoint',
      `/events/${events[0]!.event.id}/proof`,
      '/consistency?first=1',
      '/log/events',
    ]) {
      const response = await get(path, keyOf(WORKSPACE));
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('1');
    }
  });
});
