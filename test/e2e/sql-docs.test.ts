import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EMPTY_HEAD, type Head } from '../../core/chain.ts';
import type { CompleteEvent, EventInput } from '../../core/event.ts';
import type { JsonObject } from '../../core/json.ts';
import { workspaceAnalystName, workspaceAnalystPassword } from '../../infra/chdb/workspace-analyst.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { createTestAnchors, PENDING, type StoredAnchor } from '../support/anchors.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { chainEvents, headOf, insertSeeded, type SeededEvent } from '../support/seed.ts';
import { testLog } from '../support/tree.ts';

/** Every query of docs/sql.md is run as an analyst of one workspace, and its answer compared. */

const WORKSPACE = 'ws_00000000000000aa';
const OTHER_WORKSPACE = 'ws_00000000000000bb';

let server: TestClickHouse;
let analyst: ClickHouseClient;
let events: SeededEvent[];
/** By day. */
const anchored: StoredAnchor[][] = [];

beforeAll(async () => {
  server = await startTestClickHouse();
  const writer = connectClickHouse(server.writerUrl);
  events = storyOf(WORKSPACE);
  await insertSeeded(writer, events);
  // The same story elsewhere: were it seen, nearly every answer below would be another.
  await insertSeeded(writer, storyOf(OTHER_WORKSPACE));
  const anchors = createTestAnchors(writer);
  for (const bend of [{}, PENDING]) {
    const of = (workspaceId: string, size: number) => ({
      log: testLog(workspaceId),
      events: storyOf(workspaceId),
      size,
    });
    const days = bend === PENDING ? [STORY.length, 12] : [7, 5];
    anchored.push(
      await anchors.anchor([of(WORKSPACE, days[0] ?? 0), of(OTHER_WORKSPACE, days[1] ?? 0)], bend),
    );
  }
  await writer.close();
  const url = new URL(server.analystUrl);
  url.username = workspaceAnalystName(WORKSPACE);
  url.password = workspaceAnalystPassword(WORKSPACE, 'test-analyst');
  analyst = connectClickHouse(url.href);
});

afterAll(async () => {
  await analyst?.close();
  await server?.stop();
});

/** A Monday in March, and the eight days after it. */
const STORY: [time: string, event: Given][] = [
  ['03-02T08:00', anna('login.succeeded', { session_id: 's1', ip_country: 'DE' })],
  ['03-02T08:05', anna('document.read', { ...document('doc_9'), session_id: 's1', ip_country: 'DE' })],
  [
    '03-02T08:10',
    anna('document.updated', {
      ...document('doc_9'),
      session_id: 's1',
      ip_country: 'DE',
      metadata: { 'a.b': 1, a: { b: 2 } },
    }),
  ],
  ['03-02T10:00', ben('login.failed')],
  ['03-02T10:01', ben('login.failed')],
  ['03-02T10:02', ben('login.failed')],
  ['03-02T10:03', ben('login.succeeded', { session_id: 's2' })],
  ['03-03T22:30', ben('document.deleted', { ...document('doc_7'), session_id: 's3' })],
  ['03-03T22:31', ben('document.deleted', { ...document('doc_8'), session_id: 's3' })],
  ['03-03T22:32', ben('document.deleted', { ...document('doc_8'), session_id: 's3' })],
  ['03-07T12:00', anna('document.read', { ...document('doc_9'), ip_country: 'FR' })],
  ['03-09T09:00', deployment('started', { environment: 'production' })],
  [
    '03-09T09:20',
    deployment('finished', {
      environment: 'production',
      duration_ms: 1_200_000,
      changes: { after: 'v2', before: 'v1' },
    }),
  ],
  [
    '03-09T15:00',
    anna('folder.shared', {
      resource: 'folder',
      resource_id: 'f_1',
      targets: [{ type: 'document', id: 'doc_9' }],
    }),
  ],
  ['03-10T09:00', deployment('finished', { environment: 'staging', duration_ms: 300.5, retried: null })],
  // One failure, then success: a slip of the fingers.
  ['03-10T10:00', ben('login.failed')],
  ['03-10T10:01', ben('login.succeeded')],
  ['03-10T10:50', ben('document.exported', document('doc_9'))],
  ['03-10T11:00', anna('user.removed', { targets: [{ type: 'user', id: 'user_ben' }] })],
];

function anna(action: string, given: Partial<Given> = {}): Given {
  return { action, actor_id: 'user_anna', actor_name: 'Anna "A" Ångström', ...given };
}

function ben(action: string, given: Partial<Given> = {}): Given {
  return { action, actor_id: 'user_ben', actor_name: 'Ben', ip_country: 'US', ...given };
}

function deployment(step: string, metadata: JsonObject): Given {
  return { action: `deployment.${step}`, actor_id: 'ci', actor_type: 'service', metadata };
}

function document(id: string): Partial<Given> {
  return { resource: 'document', resource_id: id };
}

/** With what the edge adds to an event. */
type Given = EventInput & Pick<CompleteEvent, 'ip_country'>;

function storyOf(workspaceId: string): SeededEvent[] {
  const chained: SeededEvent[] = [];
  let head: Head = EMPTY_HEAD;
  for (const [time, event] of STORY) {
    const startMicros = Date.parse(`2026-${time}:00.123Z`) * 1000 + 456;
    const next = chainEvents(workspaceId, [event], { head, startMicros });
    chained.push(...next);
    head = headOf(next);
  }
  return chained;
}

/** As JSON shows a time of the story. */
function at(time: string): string {
  return `2026-${time}:00.123456Z`;
}

/** Headings and first words of what stands before each query, with the rows that it must answer. */
const EXPECTED: [query: string, rows: () => unknown[]][] = [
  [
    '`audit_anchors` holds',
    () => {
      const [confirmed, pending] = anchored.map(([own]) => own);
      const { inclusion } = confirmed!.batch;
      return [
        [pending?.periodEnd, STORY.length - 7, 'pending', '', null, null],
        [
          confirmed?.periodEnd,
          7,
          'confirmed',
          inclusion?.tx_hash,
          inclusion?.block_number,
          inclusion?.block_time,
        ],
      ];
    },
  ],
  [
    'Who touched this resource?',
    () => [
      [at('03-10T10:50'), 'user_ben', 'Ben', 'document.exported', 1],
      [at('03-09T15:00'), 'user_anna', 'Anna "A" Ångström', 'folder.shared', 0],
      [at('03-07T12:00'), 'user_anna', 'Anna "A" Ångström', 'document.read', 1],
      [at('03-02T08:10'), 'user_anna', 'Anna "A" Ångström', 'document.updated', 1],
      [at('03-02T08:05'), 'user_anna', 'Anna "A" Ångström', 'document.read', 1],
    ],
  ],
  [
    'From which countries has each actor been seen, and since when?',
    () => [
      ['user_anna', 'DE', at('03-02T08:00'), 3],
      ['user_anna', 'FR', at('03-07T12:00'), 1],
      ['user_ben', 'US', at('03-02T10:00'), 10],
    ],
  ],
  [
    'Who deletes most?',
    () => [
      ['user_ben', 'Ben', 3, 2],
      ['user_anna', 'Anna "A" Ångström', 1, 1],
    ],
  ],
  [
    'What was each session?',
    () => [
      [
        's1',
        'user_anna',
        at('03-02T08:00'),
        600,
        3,
        ['login.succeeded', 'document.read', 'document.updated'],
      ],
      ['s2', 'user_ben', at('03-02T10:03'), 0, 1, ['login.succeeded']],
      [
        's3',
        'user_ben',
        at('03-03T22:30'),
        120,
        3,
        ['document.deleted', 'document.deleted', 'document.deleted'],
      ],
    ],
  ],
  [
    'How does each week compare with the one before?',
    () => [
      ['2026-03-02', 11, 11, 2],
      ['2026-03-09', 8, -3, 3],
    ],
  ],
  ['Who failed again and again, and then got in?', () => [['user_ben', at('03-02T10:03'), 3, 'US']]],
  [
    'What happened off hours?',
    () => [
      // 22:30 in London is 23:30 in Berlin.
      ['2026-03-03 23:30', 'user_ben', 'document.deleted', 'doc_7'],
      ['2026-03-03 23:31', 'user_ben', 'document.deleted', 'doc_8'],
      ['2026-03-03 23:32', 'user_ben', 'document.deleted', 'doc_8'],
      ['2026-03-07 13:00', 'user_anna', 'document.read', 'doc_9'],
    ],
  ],
  [
    'How many actions are there in each hour of a day?',
    () => [
      ['2026-03-02T08:00:00Z', 3],
      ['2026-03-02T09:00:00Z', 0],
      ['2026-03-02T10:00:00Z', 4],
      ['2026-03-02T11:00:00Z', 0],
    ],
  ],
  [
    'What did somebody do in the month before they left?',
    () => [
      [at('03-10T10:50'), 'document.exported', 'document', 'doc_9'],
      [at('03-10T10:01'), 'login.succeeded', '', ''],
      [at('03-10T10:00'), 'login.failed', '', ''],
      [at('03-03T22:32'), 'document.deleted', 'document', 'doc_8'],
      [at('03-03T22:31'), 'document.deleted', 'document', 'doc_8'],
      [at('03-03T22:30'), 'document.deleted', 'document', 'doc_7'],
      [at('03-02T10:03'), 'login.succeeded', '', ''],
      [at('03-02T10:02'), 'login.failed', '', ''],
      [at('03-02T10:01'), 'login.failed', '', ''],
      [at('03-02T10:00'), 'login.failed', '', ''],
    ],
  ],
  [
    'What do the metadata say?',
    () => [
      ['production', 2, 1_200_000, 1],
      ['staging', 1, 300.5, 0],
    ],
  ],
  [
    'Which names there are, and how often:',
    () => [
      ['environment', 3],
      ['duration_ms', 2],
      ['a', 1],
      ['a.b', 1],
      ['changes', 1],
      ['retried', 1],
    ],
  ],
  [
    '[Integrity](integrity.md) says what the hashes',
    () => [[WORKSPACE, STORY.length, 0, 0, 0, 1, STORY.length, events.at(-1)?.eventHash]],
  ],
  ['That the private texts are those', () => [[STORY.length, 0, 0]]],
  ['That the columns you filter on', () => [[STORY.length, 0]]],
  ['Where numbers are missing', () => []],
  [
    'How many events there are',
    () => [[WORKSPACE, STORY.length, STORY.length, at('03-02T08:00'), at('03-10T11:00')]],
  ],
];

const PAGE = readFileSync(new URL('../../docs/sql.md', import.meta.url), 'utf8');
/** Each fenced SQL, under what stands last before it. */
const QUERIES = [...PAGE.matchAll(/```sql\n([\s\S]*?)```/g)].map((match) => ({
  sql: match[1] ?? '',
  before: PAGE.slice(0, match.index),
}));

test('each query of the page has an expected answer', () => {
  expect(QUERIES.length).toBe(EXPECTED.length);
  expect(QUERIES.length).toBeGreaterThanOrEqual(15);
});

describe('queries of the page', () => {
  test.each(EXPECTED.map(([name, rows], index) => ({ name, rows, index })))(
    '$name',
    async ({ name, rows, index }) => {
      const { sql, before } = QUERIES[index]!;
      expect(before.slice(before.lastIndexOf('```'))).toContain(name);
      expect(await ask(sql)).toEqual(rows());
    },
  );
});

async function ask(query: string): Promise<unknown[]> {
  const result = await analyst.query({ query, format: 'JSONCompactEachRow' });
  return await result.json();
}

function queryAfter(text: string): string {
  const found = QUERIES.find(({ before }) => before.slice(before.lastIndexOf('```')).includes(text));
  if (found === undefined) throw new Error(`docs/sql.md has no query after "${text}"`);
  return found.sql;
}

describe('the queries that check the chain find what is wrong', () => {
  const CHAIN = '[Integrity](integrity.md) says what the hashes';
  const counts = async () => {
    const [row] = await ask(queryAfter(CHAIN));
    const [, n, wrong, broken, gaps] = row as number[];
    return { n, wrong, broken, gaps };
  };

  test.each([
    [
      "UPDATE body = replaceOne(body, 'doc_7', 'doc_6') WHERE seq = 8",
      { n: 19, wrong: 1, broken: 0, gaps: 0 },
    ],
    ["UPDATE event_hash = unhex(repeat('ab', 32)) WHERE seq = 5", { n: 19, wrong: 1, broken: 1, gaps: 0 }],
    ['DELETE WHERE seq = 12', { n: 18, wrong: 0, broken: 1, gaps: 1 }],
  ])('%s', async (change, found) => {
    await tamper(change);
    expect(await counts()).toEqual(found);
    if (change.startsWith('DELETE')) {
      expect(await ask(queryAfter('Where numbers are missing'))).toEqual([[WORKSPACE, 12, 12]]);
      expect(await ask(queryAfter('How many events there are'))).toEqual([
        [WORKSPACE, 18, 19, at('03-02T08:00'), at('03-10T11:00')],
      ]);
    }
    await restore();
    expect(await counts()).toEqual({ n: 19, wrong: 0, broken: 0, gaps: 0 });
  });

  test('a private text that was edited, and one that was erased', async () => {
    await tamper("UPDATE private = replaceOne(private, 'Ben', 'Eve') WHERE seq = 9");
    expect(await ask(queryAfter('That the private texts'))).toEqual([[19, 1, 0]]);
    await tamper("UPDATE private = '', salt = '' WHERE seq = 9");
    expect(await ask(queryAfter('That the private texts'))).toEqual([[18, 0, 1]]);
    await restore();
  });

  test('a column that was edited beside its text', async () => {
    await command('ALTER TABLE immutable.events MODIFY COLUMN action REMOVE MATERIALIZED');
    await tamper("UPDATE action = 'document.read' WHERE seq = 9");
    expect(await ask(queryAfter('That the columns you filter on'))).toEqual([[19, 1]]);
    await command(
      "ALTER TABLE immutable.events MODIFY COLUMN action LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'action')",
    );
    await restore();
  });

  async function tamper(change: string): Promise<void> {
    const statement = change.replace(' WHERE ', ` WHERE workspace_id = '${WORKSPACE}' AND `);
    await command(`ALTER TABLE immutable.events ${statement} SETTINGS mutations_sync = 2`);
  }

  async function restore(): Promise<void> {
    await command(
      `ALTER TABLE immutable.events DELETE WHERE workspace_id = '${WORKSPACE}' SETTINGS mutations_sync = 2`,
    );
    const writer = connectClickHouse(server.writerUrl);
    await insertSeeded(writer, events);
    await writer.close();
  }

  async function command(query: string): Promise<void> {
    const admin = connectClickHouse(server.adminUrl);
    await admin.command({ query });
    await admin.close();
  }
});
