import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createKeyRing, newToken, tokenHash } from '../../control/keys.ts';
import { verifyAnchorPath } from '../../core/anchor.ts';
import { hexDecode } from '../../core/bytes.ts';
import { openNote, verifierKeyOf, verifyNote } from '../../core/checkpoint.ts';
import { verifyEvidence } from '../../core/evidence.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import type { HttpRequest, HttpServer } from '../../infra/http/types.ts';
import { createLogger } from '../../infra/log.ts';
import { anchorRoutes } from '../../query/anchors/routes.ts';
import { createAddressLimit } from '../../query/proofs/address-limit.ts';
import type { Evidence } from '../../query/proofs/prover.ts';
import { proofRoutes } from '../../query/proofs/routes.ts';
import {
  CHAIN_ID,
  CONTRACT,
  createTestAnchors,
  PENDING,
  type StoredAnchor,
  type TestAnchors,
} from '../support/anchors.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { storeTree, type TestLog, testLog } from '../support/tree.ts';

/** What reads anchors over HTTP. */

const WORKSPACE = 'ws_00000000000000a1';
const OTHER = 'ws_00000000000000b2';
/** Alone in its transaction. */
const ALONE = 'ws_00000000000000c3';
const EMPTY = 'ws_00000000000000e0';
const SIZE = 700;

let clickhouse: TestClickHouse;
let admin: ClickHouseClient;
let reader: ClickHouseClient;
let server: HttpServer;
/** Shows only checkpoints that enough witnesses have cosigned. */
let witnessed: HttpServer;
let anchors: TestAnchors;
const logs = new Map<string, { log: TestLog; events: SeededEvent[] }>();
/** By day, those of both workspaces. */
const days: StoredAnchor[][] = [];
let alone: StoredAnchor;
const keyRing = createKeyRing();

function keyOf(workspaceId: string, scope: 'read' | 'ingest' = 'read'): string {
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

function logOf(workspaceId: string) {
  const found = logs.get(workspaceId);
  if (found === undefined) throw new Error(`no log ${workspaceId}`);
  return found;
}

beforeAll(async () => {
  clickhouse = await startTestClickHouse();
  admin = connectClickHouse(clickhouse.adminUrl);
  reader = connectClickHouse(clickhouse.readerUrl);
  for (const [index, workspaceId] of [WORKSPACE, OTHER, ALONE].entries()) {
    const events = chainEvents(workspaceId, variedEvents(SIZE, randomFrom(index)), {
      random: randomFrom(40 + index),
    });
    const log = testLog(workspaceId);
    logs.set(workspaceId, { log, events });
    await insertSeeded(admin, events);
    await storeTree(admin, log, events, [1, 256, 257, 600, SIZE]);
  }
  anchors = createTestAnchors(admin);
  const both = (size: number) => [WORKSPACE, OTHER].map((workspaceId) => ({ ...logOf(workspaceId), size }));
  days.push(await anchors.anchor(both(1)), await anchors.anchor(both(256)), await anchors.anchor(both(257)));
  days.push(await anchors.anchor(both(600), PENDING));
  [alone = days[0]![0]!] = await anchors.anchor([{ ...logOf(ALONE), size: SIZE }]);
  const limit = createAddressLimit(() => 1_000_000); // no time passes
  const clientAddress = (request: HttpRequest) => request.header('x-test-address') ?? `calm ${Math.random()}`;
  const proofs = (witnessedOnly: boolean) =>
    proofRoutes({
      clickhouse: reader,
      keyRing,
      signingKeys: () => undefined,
      logOrigin: 'log.test',
      isLogPublic: () => false,
      witnessedOnly,
      limit,
      clientAddress,
    });
  witnessed = await startHttpServer({
    kind: 'node',
    host: '127.0.0.1',
    port: 0,
    routes: proofs(true),
    log: createLogger('query', 'silent'),
  });
  server = await startHttpServer({
    kind: 'node',
    host: '127.0.0.1',
    port: 0,
    routes: [
      ...anchorRoutes({
        clickhouse: reader,
        keyRing,
        cursorKey: new Uint8Array(32).fill(1),
        isSigned,
        records: anchors.records,
        limit,
        clientAddress,
      }),
      ...proofs(false),
    ],
    log: createLogger('query', 'silent'),
  });
}, 120_000);

afterAll(async () => {
  await server?.close(0);
  await witnessed?.close(0);
  await admin?.close();
  await reader?.close();
  await clickhouse?.stop();
});

function isSigned(workspaceId: string, note: string): boolean {
  const found = logs.get(workspaceId);
  return found !== undefined && verifyNote(note, [verifierKeyOf(found.log.key)], nativeHasher).ok;
}

async function get(path: string, token?: string, headers: Record<string, string> = {}): Promise<Response> {
  const authorization: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token}` };
  return await fetch(`http://127.0.0.1:${server.port}${path}`, { headers: { ...authorization, ...headers } });
}

// biome-ignore lint/suspicious/noExplicitAny: what a test reads is whatever the API answers
async function json(path: string, token?: string, status = 200): Promise<any> {
  const response = await get(`/api/v1${path}`, token);
  const body = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(status);
  return body;
}

const idOf = (day: number, workspaceId = WORKSPACE) =>
  days[day]?.find((anchor) => anchor.workspaceId === workspaceId)?.id ?? '';

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

describe('the list', () => {
  test('is the workspace’s own, newest first, each with how it stands', async () => {
    const { data, pagination } = await json('/anchors', keyOf(WORKSPACE));
    expect(data.map(({ id }: { id: string }) => id)).toEqual([3, 2, 1, 0].map((day) => idOf(day)));
    expect(pagination).toEqual({ has_more: false, next_cursor: null, total: 4, total_is_estimate: false });
    const { batch } = days[2]![0]!;
    expect(data[1]).toEqual({
      id: idOf(2),
      merkle_root: expect.stringMatching(/^[0-9a-f]{64}$/),
      previous_anchor_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      size: 257,
      events_count: 1,
      period_start: '2026-03-17T00:00:00.000000Z',
      anchor_root: batch.anchor_root,
      period_end: '2026-03-18T00:00:00.000000Z',
      chain: 'base',
      chain_id: CHAIN_ID,
      contract: CONTRACT,
      status: 'confirmed',
      reason: null,
      tx_hash: batch.inclusion?.tx_hash,
      block_number: batch.inclusion?.block_number,
      block_hash: batch.inclusion?.block_hash,
      block_time: batch.inclusion?.block_time,
      explorer_url: `https://basescan.org/tx/${batch.inclusion?.tx_hash}`,
      created_at: batch.created_at,
    });
    expect(data[0]).toMatchObject({
      status: 'pending',
      reason: 'No RPC endpoint is set.',
      chain: null,
      tx_hash: null,
      block_number: null,
      block_time: null,
      explorer_url: null,
    });
    expect(data[3]).toMatchObject({ previous_anchor_hash: null, events_count: 1 });
  });

  test('goes on by a cursor, which is the workspace’s own', async () => {
    const token = keyOf(WORKSPACE);
    const first = await json('/anchors?limit=3', token);
    expect(first.data).toHaveLength(3);
    expect(first.pagination).toMatchObject({ has_more: true, total: 4 });
    const next = await json(`/anchors?limit=3&cursor=${first.pagination.next_cursor}`, token);
    expect(next.data.map(({ id }: { id: string }) => id)).toEqual([idOf(0)]);
    expect(next.pagination).toMatchObject({ has_more: false, next_cursor: null });
    await json(`/anchors?cursor=${first.pagination.next_cursor}`, keyOf(OTHER), 400);
    await json('/anchors?cursor=altered', token, 400);
    for (const limit of ['0', '101', 'x']) await json(`/anchors?limit=${limit}`, token, 422);
  });

  test('is empty before the first', async () => {
    expect(await json('/anchors', keyOf(EMPTY))).toMatchObject({ data: [], pagination: { total: 0 } });
  });

  test('needs a key that may read', async () => {
    for (const path of ['/anchors', `/anchors/${idOf(0)}`, `/anchors/${idOf(0)}/verify`]) {
      await json(path, undefined, 401);
      await json(path, keyOf(WORKSPACE, 'ingest'), 403);
    }
  });
});

describe('one anchor', () => {
  test('has all that one needs to lead its checkpoint to the root in the contract', async () => {
    const { data } = await json(`/anchors/${idOf(1)}`, keyOf(WORKSPACE));
    const { events } = logOf(WORKSPACE);
    expect(data).toMatchObject({
      first_event_hash: events[1]!.eventHash,
      last_event_hash: events[255]!.eventHash,
      inclusion: { tree_size: 2 },
    });
    const text = openNote(data.checkpoint)?.text ?? '';
    const { leaf_index, tree_size, path } = data.inclusion;
    const proof = {
      leafIndex: leaf_index,
      treeSize: tree_size,
      path: path.map((hash: string) => hexDecode(hash)!),
    };
    expect(verifyAnchorPath(text, proof, hexDecode(data.anchor_root)!)).toBe(true);
    expect(data.merkle_root).toBe(Buffer.from(text.split('\n')[2] ?? '', 'base64').toString('hex'));
  });

  test('of another workspace, of nobody, or by what is no id, is not found, all in one way', async () => {
    const token = keyOf(WORKSPACE);
    const message = { error: 'not_found', message: 'There is no anchor with this id.' };
    const ids = [idOf(0, OTHER), `anc_${'0'.repeat(32)}`, 'none', "'%20OR%201=1", 'x'.repeat(4000)];
    for (const id of ids) {
      expect(await json(`/anchors/${id}`, token, 404)).toMatchObject(message);
      expect(await json(`/anchors/${id}/verify`, token, 404)).toMatchObject(message);
    }
    for (const id of ids.slice(1)) {
      expect(await json(`/public/anchors/${id}/verify`, undefined, 404)).toMatchObject(message);
    }
  });

  test.each([0, 1, 2, 3])('of day %i verifies, with a key and without', async (day) => {
    const { data } = await json(`/anchors/${idOf(day)}/verify`, keyOf(WORKSPACE));
    expect(data.checks).toEqual(
      ['checkpoint', 'merkle_root', 'events', 'chain', 'path', 'record'].map((name) => ({
        name,
        outcome: 'passed',
        detail: null,
      })),
    );
    expect(data).toMatchObject({
      anchor_id: idOf(day),
      valid: true,
      chain_valid: true,
      expected: data.actual,
    });
    expect(data.actual).toBe(data.merkle_root);
    const withoutKey = await json(`/public/anchors/${idOf(day)}/verify`);
    expect(withoutKey.data).toEqual(data);
  });

  test('verifies when its events were archived', async () => {
    await run(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${OTHER}' AND seq <= 500`);
    for (const day of [0, 1, 2, 3]) {
      const { data } = await json(`/anchors/${idOf(day, OTHER)}/verify`, keyOf(OTHER));
      expect(data, JSON.stringify(data)).toMatchObject({ valid: true, chain_valid: true });
    }
  });

  test('does not verify without the tiles, without its predecessor, or with another root', async () => {
    const { log, events } = logOf(ALONE);
    const verify = async () => (await json(`/anchors/${alone.id}/verify`, keyOf(ALONE))).data;
    expect(await verify()).toMatchObject({ valid: true });
    await run(`ALTER TABLE ${TABLES.tiles} DELETE WHERE workspace_id = '${ALONE}' AND level = 0`);
    expect(await verify()).toMatchObject({ valid: false, chain_valid: true, expected: null });
    await storeTree(admin, log, events);
    await run(
      `ALTER TABLE ${TABLES.anchors} UPDATE previous_anchor_hash = repeat('ab', 32) WHERE id = '${alone.id}'`,
    );
    const { valid, chain_valid, checks } = await verify();
    expect([valid, chain_valid]).toEqual([false, false]);
    expect(checks.filter(({ outcome }: { outcome: string }) => outcome === 'failed')).toEqual([
      { name: 'chain', outcome: 'failed', detail: 'it names an anchor before it, and there is none' },
    ]);
    await run(`ALTER TABLE ${TABLES.anchors} UPDATE previous_anchor_hash = '' WHERE id = '${alone.id}'`);
    await run(`ALTER TABLE ${TABLES.anchors} UPDATE merkle_root = repeat('ab', 32) WHERE id = '${alone.id}'`);
    const other = await verify();
    expect(other).toMatchObject({ valid: false, actual: 'ab'.repeat(32) });
    await run(
      `ALTER TABLE ${TABLES.anchors} UPDATE merkle_root = '${other.expected}' WHERE id = '${alone.id}'`,
    );
    expect(await verify()).toMatchObject({ valid: true });
  });
});

describe('looking a transaction up', () => {
  const shared = days;

  test('tells of several workspaces only what they share', async () => {
    const { batch } = shared[1]![0]!;
    const { data } = await json(`/public/anchors/lookup?tx_hash=${batch.inclusion?.tx_hash}`);
    expect(data).toEqual({
      anchor_root: batch.anchor_root,
      period_end: batch.period_end,
      chain: 'base',
      chain_id: CHAIN_ID,
      contract: CONTRACT,
      status: 'confirmed',
      reason: null,
      tx_hash: batch.inclusion?.tx_hash,
      block_number: batch.inclusion?.block_number,
      block_hash: batch.inclusion?.block_hash,
      block_time: batch.inclusion?.block_time,
      explorer_url: `https://basescan.org/tx/${batch.inclusion?.tx_hash}`,
      anchor: null,
    });
  });

  test('tells the one whose root was named, and the one that is alone', async () => {
    const { data } = await json(`/anchors/${idOf(1)}`, keyOf(WORKSPACE));
    const address = `/public/anchors/lookup?tx_hash=${data.tx_hash.toUpperCase().replace('0X', '0x')}`;
    const found = await json(`${address}&merkle_root=${data.merkle_root}`);
    expect(found.data.anchor).toMatchObject({ id: idOf(1), merkle_root: data.merkle_root });
    expect(JSON.stringify(found)).not.toContain(WORKSPACE);
    await json(`${address}&merkle_root=${'0'.repeat(64)}`, undefined, 404);
    const single = await json(`/public/anchors/lookup?tx_hash=${alone.batch.inclusion?.tx_hash}`);
    expect(single.data.anchor).toMatchObject({ id: alone.id });
  });

  test('finds nothing of what was not sent, and refuses what is no hash', async () => {
    await json(`/public/anchors/lookup?tx_hash=0x${'0'.repeat(64)}`, undefined, 404);
    for (const [query, path] of [
      ['', 'tx_hash'],
      ['?tx_hash=', 'tx_hash'],
      ['?tx_hash=0x12', 'tx_hash'],
      [`?tx_hash=${'0'.repeat(66)}`, 'tx_hash'],
      [`?tx_hash=0x${'0'.repeat(64)}&tx_hash=0x${'1'.repeat(64)}`, 'tx_hash'],
      [`?tx_hash=0x${'0'.repeat(64)}&merkle_root=x`, 'merkle_root'],
      [`?tx_hash=0x${'0'.repeat(7000)}`, 'tx_hash'],
    ] as const) {
      const { violations } = await json(`/public/anchors/lookup${query}`, undefined, 422);
      expect(violations.map((violation: { path: string }) => violation.path)).toEqual([path]);
    }
    expect(
      (await get(`/api/v1/public/anchors/lookup?tx_hash=${'0'.repeat(1_000_000)}`)).status,
    ).toBeGreaterThan(400);
  });
});

describe('without a key', () => {
  test('an address asks so often and no oftener, whatever it asks for', async () => {
    const greedy = { 'x-test-address': 'greedy' };
    const paths = [
      '/api/v1/public/anchors/lookup',
      `/api/v1/public/anchors/${idOf(0)}/verify`,
      `/public/anchors/${idOf(0)}`,
    ];
    for (let asked = 0; asked < 600; asked += 1) {
      expect((await get('/api/v1/public/anchors/lookup', undefined, greedy)).status).toBe(422);
    }
    for (const path of [...paths, '/api/v1/public/keys']) {
      const response = await get(path, undefined, greedy);
      expect(response.status, path).toBe(429);
      expect(response.headers.get('retry-after')).toBe('1');
    }
    expect((await get(paths[2]!, undefined, { 'x-test-address': 'modest' })).status).toBe(200);
  });

  test('any site may read the answers, and none of them is kept for long', async () => {
    const { headers } = await get(`/api/v1/public/anchors/${idOf(0)}/verify`);
    expect(headers.get('access-control-allow-origin')).toBe('*');
    expect(headers.get('cache-control')).toBe('no-cache');
    const own = await get(`/api/v1/anchors/${idOf(0)}`, keyOf(WORKSPACE));
    expect(own.headers.get('cache-control')).toBe('private, no-cache');
    expect(own.headers.get('vary')).toBe('Authorization');
    expect(own.headers.get('access-control-allow-origin')).toBeNull();
  });
});

test('what would take ClickHouse too long is asked again later, and not narrowed by what anchors do not have', async () => {
  const narrow = connectClickHouse(`${clickhouse.readerUrl}?ch_max_rows_to_read=1`);
  onTestFinished(() => narrow.close());
  const routes = anchorRoutes({
    clickhouse: narrow,
    keyRing,
    cursorKey: new Uint8Array(32).fill(1),
    isSigned,
    limit: () => {},
    clientAddress: () => '',
  });
  const log = createLogger('query', 'silent');
  const hasty = await startHttpServer({ kind: 'node', host: '127.0.0.1', port: 0, routes, log });
  onTestFinished(() => hasty.close(0));
  for (const path of ['/api/v1/anchors', `/api/v1/anchors/${idOf(0)}`, `/public/anchors/${idOf(0)}`]) {
    const headers = { authorization: `Bearer ${keyOf(WORKSPACE)}` };
    const response = await fetch(`http://127.0.0.1:${hasty.port}${path}`, { headers });
    expect(await response.json()).toMatchObject({ error: 'unavailable' });
    expect(response.headers.get('retry-after')).toBe('1');
  }
});

describe('the page', () => {
  const page = async (id: string, status = 200) => {
    const response = await get(`/public/anchors/${id}`);
    expect(response.status).toBe(status);
    return { text: await response.text(), headers: response.headers };
  };

  test('shows what was anchored, where, and how one checks it', async () => {
    const { text, headers } = await page(idOf(1));
    const { batch } = days[1]![0]!;
    for (const shown of [
      'Proof of an audit log: 2026-03-16',
      'On the chain: written into Base on 2026-03-17 00:06:00 UTC.',
      '<dd>255</dd>',
      '<dd>256</dd>',
      batch.anchor_root,
      `<a href="https://basescan.org/tx/${batch.inclusion?.tx_hash}"`,
      CONTRACT,
      `chain_id=&#39;${CHAIN_ID}&#39;`,
      'eth_getTransactionReceipt',
    ]) {
      expect(text).toContain(shown);
    }
    expect(text).not.toContain('<script');
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
    );
    expect(headers.get('referrer-policy')).toBe('no-referrer');
  });

  test('tells the fingerprint of the log from the root in the contract, which others look for there', async () => {
    const { text } = await page(idOf(1));
    expect(text).toMatch(/with the fingerprints\s+of other logs/);
    expect(text).toContain('Root in the contract, of this and other logs');
    expect(text).toContain('npx immutable verify evidence.json --policy policy');
  });

  test('does not look like proof where the chain proves nothing', async () => {
    const [rehearsed] = await anchors.anchor([{ ...logOf(ALONE), size: SIZE }], { chain_id: 31337 });
    const { text } = await page(rehearsed!.id);
    expect(text).toMatch(/class="state rehearsal">A rehearsal: .* of one machine, which proves nothing/);
    expect(text).not.toContain('class="state confirmed"');
    expect((await page(idOf(1))).text).toContain('class="state confirmed"');
  });

  test('says what is not on the chain yet, and why', async () => {
    const { text } = await page(idOf(3));
    expect(text).toContain('Not yet on the chain: it waits to be written. No RPC endpoint is set.');
    expect(text).not.toContain('tx_hash=');
  });

  test('is not there for ids that nobody has, all in one way', async () => {
    const pages = await Promise.all(
      [`anc_${'0'.repeat(32)}`, 'none', '%3Cscript%3Ealert(1)%3C%2Fscript%3E'].map((id) => page(id, 404)),
    );
    expect(new Set(pages.map(({ text }) => text)).size).toBe(1);
    expect(pages[0]?.text).toContain('There is no such anchor');
  });

  test('shows texts as texts, whatever somebody wrote into the tables', async () => {
    const [one] = await anchors.anchor([{ ...logOf(ALONE), size: SIZE }], {
      ...PENDING,
      reason: `<script>alert("it's")</script>`,
    });
    const { text } = await page(one!.id);
    expect(text).not.toContain('<script');
    expect(text).toContain('&lt;script&gt;alert(&quot;it&#39;s&quot;)&lt;/script&gt;');
  });
});

describe('evidence', () => {
  const evidenceOf = async (seq: number, query = '', workspaceId = WORKSPACE) =>
    await json(`/events/${logOf(workspaceId).events[seq - 1]!.event.id}/proof${query}`, keyOf(workspaceId));

  test.each([
    [1, 1, 0],
    [2, 256, 1],
    [256, 256, 1],
    [257, 257, 2],
  ])('of event %i is by the oldest anchor that has it', async (seq, size, day) => {
    const evidence = await evidenceOf(seq);
    const { batch } = days[day]![0]!;
    expect(evidence.inclusion.tree_size).toBe(size);
    expect(Object.keys(evidence.anchor)).toEqual([
      'anchor_root',
      'leaf_index',
      'tree_size',
      'path',
      'chain_id',
      'contract',
      'tx_hash',
      'block_number',
    ]);
    expect(evidence.anchor).toMatchObject({
      anchor_root: batch.anchor_root,
      chain_id: CHAIN_ID,
      contract: CONTRACT,
      tx_hash: batch.inclusion?.tx_hash,
      block_number: batch.inclusion?.block_number,
    });
    const trust = {
      verifierKeys: [verifierKeyOf(logOf(WORKSPACE).log.key)],
      anchor: { chainId: CHAIN_ID, contract: CONTRACT },
    };
    const { verdict, checks } = verifyEvidence(evidence, trust);
    expect(verdict, JSON.stringify(checks)).toBe('valid');
    expect(checks.find(({ name }) => name === 'anchor')?.outcome).toBe('passed');
  });

  test('of an event whose anchor is not confirmed is by the newest checkpoint', async () => {
    const evidence = await evidenceOf(258);
    expect(evidence.anchor).toBeNull();
    expect(evidence.inclusion.tree_size).toBe(SIZE);
  });

  test('is by the newest checkpoint for who asks for it', async () => {
    const evidence = await evidenceOf(2, '?checkpoint=newest');
    expect(evidence.anchor).toBeNull();
    expect(evidence.inclusion.tree_size).toBe(SIZE);
    expect((await evidenceOf(2, '?checkpoint=anchored')).inclusion.tree_size).toBe(256);
    const id = logOf(WORKSPACE).events[0]!.event.id;
    const refused = await json(`/events/${id}/proof?checkpoint=oldest`, keyOf(WORKSPACE), 422);
    expect(refused.violations.map(({ path }: { path: string }) => path)).toEqual(['checkpoint']);
  });

  test('is by a checkpoint that enough witnesses have cosigned, where they must', async () => {
    const { events } = logOf(WORKSPACE);
    const evidence = async () => {
      const response = await fetch(
        `http://127.0.0.1:${witnessed.port}/api/v1/events/${events[1]!.event.id}/proof`,
        { headers: { authorization: `Bearer ${keyOf(WORKSPACE)}` } },
      );
      return { status: response.status, body: (await response.json()) as Evidence };
    };
    const cosign = (size: number) =>
      run(`INSERT INTO ${TABLES.checkpoints}
        SELECT * REPLACE (concat(note, '— w.test AAAAAAAA\n') AS note, 1 AS cosignatures, true AS is_witnessed)
        FROM (SELECT * FROM ${TABLES.checkpoints} WHERE workspace_id = '${WORKSPACE}' AND size = ${size})`);
    expect((await evidence()).status).toBe(404);
    await cosign(600);
    const byNewest = (await evidence()).body;
    expect(byNewest.anchor).toBeNull();
    expect(byNewest.inclusion.tree_size).toBe(600);
    await cosign(257);
    const anchored = (await evidence()).body;
    expect(anchored.anchor).toMatchObject({ anchor_root: days[2]![0]!.batch.anchor_root });
    expect(anchored.inclusion.tree_size).toBe(257);
    expect(anchored.checkpoint).toContain('— w.test AAAAAAAA\n');
    expect(
      verifyEvidence(anchored, { verifierKeys: [verifierKeyOf(logOf(WORKSPACE).log.key)] }).verdict,
    ).toBe('valid');
  });
});
