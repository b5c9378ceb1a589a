import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseVerifierKey } from '../../core/checkpoint.ts';
import { verifyEvidence } from '../../core/evidence.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { curl } from './curl.ts';

/** A running product, seen from outside, with the one door that an intruder would use. */
export interface Service {
  baseUrl: string;
  workspaceId: string;
  apiKey: string;
  /** Of the ClickHouse user that may do everything. */
  clickhouseAdminUrl: string;
  stop(): Promise<void>;
}

const STORED_WITHIN_MS = 15_000;
const BATCH_SIZE = 60;

/** What a new user does in the first five minutes, and what an intruder does after: one test a step, in order. */
export function describeJourney(name: string, start: () => Promise<Service>): void {
  describe(name, () => {
    let service: Service;
    let clickhouse: ClickHouseClient;
    let singleId: string;
    let batchIds: string[];
    let allIds: string[];

    const api = (path: string, body?: unknown) =>
      curl(`${service.baseUrl}/api/v1${path}`, {
        key: service.apiKey,
        ...(body === undefined ? {} : { body }),
      });

    /** All pages of a list, followed by their cursors. */
    async function pages(path: string): Promise<{ id: string }[][]> {
      const found: { id: string }[][] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const { status, json } = await api(`${path}${cursor === '' ? '' : `&cursor=${cursor}`}`);
        expect(status).toBe(200);
        found.push(json.data);
        cursor = json.pagination.has_more ? json.pagination.next_cursor : null;
      }
      return found;
    }

    beforeAll(async () => {
      service = await start();
      clickhouse = connectClickHouse(service.clickhouseAdminUrl);
    }, 180_000);

    afterAll(async () => {
      await clickhouse?.close();
      await service?.stop();
    });

    test('one event is sent, and found again as it was sent', async () => {
      const [event] = exampleEvents();
      const sent = await api('/events', event);
      expect(sent).toMatchObject({ status: 202, json: { status: 'queued' } });
      singleId = sent.json.id;

      const found = await untilFound(() => api(`/events/${singleId}`));
      expect(found).toMatchObject({
        id: singleId,
        actor: { id: event.actor_id, name: event.actor_name },
        action: event.action,
        metadata: event.metadata,
        integrity: { seq: 1, previous_event_hash: null },
      });
    });

    test('a batch is sent, its bad element refused alone, and its order is the order of the chain', async () => {
      const events = Array.from({ length: BATCH_SIZE }, (_, index) => ({
        ...exampleEvents()[index % exampleEvents().length],
        resource_id: `batch-${index}`,
      }));
      const sent = await api('/events/batch', { events: [...events, { action: 'nobody.did' }] });
      expect(sent.status).toBe(202);
      expect(sent.json.events.at(-1)).toMatchObject({ status: 'rejected', error: 'validation_failed' });
      batchIds = sent.json.events.slice(0, BATCH_SIZE).map(({ id }: { id: string }) => id);

      const last = await untilFound(() => api(`/events/${batchIds.at(-1)}`));
      expect(last.integrity.seq).toBe(1 + BATCH_SIZE);
      allIds = [singleId, ...batchIds];
    });

    test('the list pages through every event once, newest first', async () => {
      const found = await pages('/events?limit=25');
      expect(found.map((page) => page.length)).toEqual([25, 25, 11]);
      expect(found.flat().map(({ id }) => id)).toEqual(allIds.toReversed());
    });

    test('a filter finds what it names', async () => {
      const { json } = await api('/events?resource_id=batch-7');
      expect(json.data.map(({ id }: { id: string }) => id)).toEqual([batchIds[7]]);
      expect(json.pagination).toMatchObject({ has_more: false, total: 1 });
    });

    test('nobody reads or writes without a key', async () => {
      for (const path of ['/events', `/events/${singleId}`, '/verify']) {
        expect(await curl(`${service.baseUrl}/api/v1${path}`)).toMatchObject({
          status: 401,
          json: { error: 'unauthenticated' },
        });
      }
      const [event] = exampleEvents();
      expect(await curl(`${service.baseUrl}/api/v1/events`, { body: event })).toMatchObject({ status: 401 });
    });

    test('the whole chain verifies', async () => {
      expect((await api('/verify?limit=1000')).json.data).toMatchObject({
        valid: true,
        events_checked: allIds.length,
        breaks: [],
      });
    });

    test('evidence of an event verifies without us, with the key that was pinned', async () => {
      const evidence = await untilSigned(() => api(`/events/${batchIds[7]}/proof`));
      const keys = await curl(`${service.baseUrl}/api/v1/public/keys?workspace_id=${service.workspaceId}`);
      const pinned = keys.json.data.keys.map(({ verifier_key }: { verifier_key: string }) =>
        parseVerifierKey(verifier_key),
      );
      expect(verifyEvidence(evidence, { verifierKeys: pinned })).toMatchObject({ verdict: 'valid' });
      const edited = { ...evidence, event: { ...evidence.event, body: `${evidence.event.body} ` } };
      expect(verifyEvidence(edited, { verifierKeys: pinned })).toMatchObject({ verdict: 'invalid' });
      expect(verifyEvidence(evidence, { verifierKeys: [] })).toMatchObject({ verdict: 'unknown_signer' });
    });

    test('an event that is rewritten in ClickHouse is named', async () => {
      const victim = batchIds[20];
      await clickhouse.command({
        query: `ALTER TABLE ${TABLES.events} UPDATE body = replaceOne(body, '"actor_id":"', '"actor_id":"not_')
                WHERE workspace_id = {workspace:String} AND id = {victim:String}`,
        query_params: { workspace: service.workspaceId, victim },
        clickhouse_settings: { mutations_sync: '2' },
      });
      const { valid, breaks } = (await api('/verify?limit=1000')).json.data;
      expect(valid).toBe(false);
      const named = breaks.filter(({ event_id }: { event_id: string }) => event_id === victim);
      expect(named).toContainEqual(expect.objectContaining({ type: 'hash_mismatch' }));
      expect(new Set(breaks.map(({ event_id }: { event_id: string }) => event_id))).toEqual(
        new Set([victim]),
      );
    });

    test('events that are cut off at the end are missed', async () => {
      await clickhouse.command({
        query: `ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = {workspace:String} AND seq > 55`,
        query_params: { workspace: service.workspaceId },
        clickhouse_settings: { mutations_sync: '2' },
      });
      const { breaks } = (await api('/verify?limit=1000')).json.data;
      expect(breaks).toContainEqual(
        expect.objectContaining({
          type: 'tree_mismatch',
          seq: 56,
          part: expect.stringContaining('events 56 to 61'),
        }),
      );
    });

    test('an event that is deleted from ClickHouse leaves a hole at the one after it', async () => {
      const [victim, next] = [batchIds[40], batchIds[41]];
      await clickhouse.command({
        query: `ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = {workspace:String} AND id = {victim:String}`,
        query_params: { workspace: service.workspaceId, victim },
        clickhouse_settings: { mutations_sync: '2' },
      });
      const { valid, breaks } = (await api('/verify?limit=1000')).json.data;
      expect(valid).toBe(false);
      expect(breaks).toContainEqual(expect.objectContaining({ event_id: next, type: 'chain_break' }));
    });
  });
}

interface ExampleEvent {
  actor_id: string;
  actor_name: string;
  action: string;
  metadata: unknown;
}

function exampleEvents(): [ExampleEvent, ...ExampleEvent[]] {
  const file = new URL('../../examples/devops-events.json', import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')).events;
}

/** And stored before it is signed. */
// biome-ignore lint/suspicious/noExplicitAny: the evidence as JSON
async function untilSigned(get: () => Promise<{ status: number; json: any }>): Promise<any> {
  const deadline = performance.now() + STORED_WITHIN_MS;
  for (;;) {
    const { status, json } = await get();
    if (status === 200) return json;
    expect(status).toBe(404);
    if (performance.now() > deadline) throw new Error(`not signed within ${STORED_WITHIN_MS} ms`);
    await sleep(100);
  }
}

/** An event is acknowledged before it is stored; the API says 404 until it is. */
// biome-ignore lint/suspicious/noExplicitAny: the event as JSON
async function untilFound(get: () => Promise<{ status: number; json: any }>): Promise<any> {
  const deadline = performance.now() + STORED_WITHIN_MS;
  for (;;) {
    const { status, json } = await get();
    if (status === 200) return json.data;
    expect(status).toBe(404);
    if (performance.now() > deadline) throw new Error(`not stored within ${STORED_WITHIN_MS} ms`);
    await sleep(50);
  }
}
