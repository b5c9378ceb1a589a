import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventInput } from '../../core/event.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { clickHouseAlertStore } from '../../pipeline/alerts/clickhouse-store.ts';
import type { AlertRow, AlertStore, History } from '../../pipeline/alerts/store.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { chainEvents, insertSeeded, randomFrom, SEED_EPOCH } from '../support/seed.ts';

const START = Date.UTC(2026, 2, 15, 12) * 1000;
const SECOND = 1_000_000;

let server: TestClickHouse;
let client: ClickHouseClient;
let store: AlertStore;

beforeAll(async () => {
  server = await startTestClickHouse();
  client = connectClickHouse(server.writerUrl);
  store = clickHouseAlertStore(client);
});
afterAll(async () => {
  await client?.close();
  await server?.stop();
});

let workspaces = 0;

/** A workspace of its own whose events come a second apart; `[actor, action, country]`. */
async function seeded(given: [string, string, string?][], partition = 0) {
  workspaces += 1;
  const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
  const inputs = given.map(([actor_id, action, ip_country]): EventInput & { ip_country?: string } => ({
    actor_id,
    action,
    ...(ip_country === undefined ? {} : { ip_country }),
  }));
  const options = { startMicros: START, stepMicros: SECOND, random: randomFrom(workspaces) };
  const events = chainEvents(workspaceId, inputs, options);
  await insertSeeded(client, events, { epoch: SEED_EPOCH, partition });
  const history = (patterns: string[], throughSeq = given.length): History => ({
    workspaceId,
    patterns,
    throughSeq,
  });
  return { workspaceId, events, history };
}

const seqs = (events: readonly { seq: number }[]) => events.map(({ seq }) => seq);

describe('events', () => {
  it('are told as the rules look at them, in their order, within bounds that are exact', async () => {
    const { workspaceId, events } = await seeded([
      ['Ádá "L" \\', 'a', 'GB'],
      ['b', 'b'],
      ['c', 'c'],
      ['d', 'd'],
    ]);
    const all = { afterSeq: 0, throughSeq: 4, afterMicros: Number.NEGATIVE_INFINITY };
    const [first, second] = await store.eventsAfter(workspaceId, all, 2);
    expect(first).toEqual({
      id: events[0]?.event.id,
      seq: 1,
      createdAtMicros: START,
      action: 'a',
      actorId: 'Ádá "L" \\',
      ipCountry: 'GB',
    });
    expect(second?.ipCountry).toBeUndefined();
    expect(seqs(await store.eventsAfter(workspaceId, { ...all, afterSeq: 1, throughSeq: 3 }, 9))).toEqual([
      2, 3,
    ]);
    const later = (afterMicros: number) => store.eventsAfter(workspaceId, { ...all, afterMicros }, 9);
    expect(seqs(await later(START + SECOND))).toEqual([3, 4]);
    expect(seqs(await later(START + SECOND - 1))).toEqual([2, 3, 4]);
    expect(await store.oldestEventAt(workspaceId, 4)).toBe(START);
    expect(await store.oldestEventAt(workspaceId, 0)).toBeUndefined();
  });

  it('are found by where they stood in the stream', async () => {
    const many = Array.from({ length: 25 }, (): [string, string] => ['a', 'x']);
    const [one, other] = [await seeded(many, 77), await seeded(many.slice(0, 4), 77)];
    const grown = (from: [number, number], to: [number, number]) => {
      const [after, through] = [from, to].map(([sequence, index]) => ({ sequence, index }));
      return store.grownWorkspaces(77, after!, through!);
    };
    expect(await grown([1, 1], [3, 0])).toEqual(
      new Map([
        [one.workspaceId, { firstSeq: 3, lastSeq: 21 }],
        [other.workspaceId, { firstSeq: 3, lastSeq: 4 }],
      ]),
    );
    expect(await grown([1, 3], [2, 0])).toEqual(new Map([[one.workspaceId, { firstSeq: 5, lastSeq: 11 }]]));
    expect(await grown([3, 4], [3, 4])).toEqual(new Map());
    expect(await store.grownWorkspaces(78, { sequence: 0, index: 0 }, { sequence: 9, index: 0 })).toEqual(
      new Map(),
    );
  });

  it('fit patterns as the rules say', async () => {
    const actions = [
      'doc.deleted',
      '100%.done',
      '100x.done',
      'under_score',
      'underxscore',
      'back\\slash',
      'two\nlines',
    ];
    const { history } = await seeded(actions.map((action) => ['a', action]));
    const fitting = async (...patterns: string[]) => {
      const range = { afterMicros: 0, limit: 9, perActor: false };
      return (await store.newestEvents(history(patterns), range)).map(({ action }) => action);
    };
    expect(await fitting('*')).toEqual(actions);
    expect(await fitting('100%.*')).toEqual(['100%.done']);
    expect(await fitting('under_score')).toEqual(['under_score']);
    expect(await fitting('back\\*')).toEqual(['back\\slash']);
    expect(await fitting('two*lines')).toEqual(['two\nlines']);
    expect(await fitting('*.deleted', '*.d**e')).toEqual(['doc.deleted', '100%.done', '100x.done']);
  });

  it('are the newest of each actor, or of all', async () => {
    const { history } = await seeded(['a', 'b', 'a', 'a', 'b', 'a'].map((actor) => [actor, 'x']));
    const newest = async (limit: number, perActor: boolean, afterMicros = 0, throughSeq = 6) =>
      seqs(await store.newestEvents(history(['x'], throughSeq), { afterMicros, limit, perActor }));
    expect(await newest(2, true)).toEqual([2, 4, 5, 6]);
    expect(await newest(2, false)).toEqual([5, 6]);
    expect(await newest(2, true, START + 3 * SECOND)).toEqual([5, 6]);
    expect(await newest(1, true, 0, 4)).toEqual([2, 4]);
  });

  it('are counted by country of each actor, and by span of time', async () => {
    const { history } = await seeded([
      ['a', 'x', 'DE'],
      ['b', 'x', 'FR'],
      ['a', 'x', 'DE'],
      ['c', 'x'],
      ['b', 'y', 'US'],
      ['a', 'x', 'FR'],
    ]);
    const told = await store.countriesOfActors(history(['x']), 9);
    expect(told.map(({ actorId, action }) => [actorId, action])).toEqual([
      ['b', 'x'],
      ['a', 'x'],
    ]);
    expect(told[0]?.countries).toEqual([['FR', 1]]);
    expect(told[1]?.countries.sort()).toEqual([
      ['DE', 2],
      ['FR', 1],
    ]);
    expect((await store.countriesOfActors(history(['*'], 5), 1)).map(({ actorId }) => actorId)).toEqual([
      'b',
    ]);
    const spanMicros = 2 * SECOND;
    const first = START / spanMicros;
    expect(await store.countsBySpan(history(['x']), { spanMicros, sinceMicros: START + SECOND })).toEqual([
      [first, 1],
      [first + 1, 2],
      [first + 2, 1],
    ]);
  });
});

describe('alerts', () => {
  function alert(workspaceId: string, eventSeq: number, given: Partial<AlertRow> = {}): AlertRow {
    return {
      workspaceId,
      id: `alt_${eventSeq}`,
      ruleId: 'rul_1',
      ruleName: 'Größe "\\',
      ruleType: 'repeated_action',
      severity: 'high',
      reason: 'Ten.',
      eventId: `evt_${eventSeq}`,
      eventSeq,
      action: 'x',
      actorId: 'a',
      ipCountry: undefined,
      isMuted: false,
      triggeredAtMicros: START + eventSeq,
      ...given,
    };
  }

  it('are kept once, however often they are written', async () => {
    const rows = [alert('ws_once', 1), alert('ws_once', 2, { isMuted: true, ipCountry: 'DE' })];
    for (let time = 0; time < 3; time += 1) await store.writeAlerts(rows);
    await store.writeAlerts([]);
    const answer = await client.query({
      query: `SELECT * EXCEPT recorded_at FROM ${TABLES.alerts} FINAL WHERE workspace_id = 'ws_once' ORDER BY id`,
      format: 'JSONEachRow',
    });
    expect(await answer.json()).toMatchObject([
      { id: 'alt_1', rule_name: 'Größe "\\', event_seq: 1, ip_country: '', is_muted: false },
      { id: 'alt_2', triggered_at: '2026-03-15T12:00:00.000002Z', ip_country: 'DE', is_muted: true },
    ]);
  });

  it('are told by rule and actor, the newest of each within bounds that are exact', async () => {
    const other = { ruleId: 'rul_2', id: 'alt_x' };
    await store.writeAlerts([
      ...[1, 3, 5].map((seq) => alert('ws_told', seq)),
      alert('ws_told', 2, { actorId: 'b' }),
      alert('ws_told', 6, other),
      alert('ws_else', 7),
    ]);
    const rule = { workspaceId: 'ws_told', ruleId: 'rul_1' };
    const told = (throughSeq: number, afterMicros = 0) => store.alertsOf(rule, { throughSeq, afterMicros });
    expect(await told(9)).toEqual([
      { actorId: 'b', triggeredAtMicros: START + 2 },
      { actorId: 'a', triggeredAtMicros: START + 5 },
    ]);
    expect(await told(4)).toEqual([
      { actorId: 'b', triggeredAtMicros: START + 2 },
      { actorId: 'a', triggeredAtMicros: START + 3 },
    ]);
    expect(await told(4, START + 2)).toEqual([{ actorId: 'a', triggeredAtMicros: START + 3 }]);
    expect(await told(9, START + 5)).toEqual([]);
  });

  it('are changed and removed by nobody who may write them', async () => {
    for (const statement of ['DELETE WHERE 1', "UPDATE reason = '' WHERE 1"]) {
      const answer = client.command({ query: `ALTER TABLE ${TABLES.alerts} ${statement}` });
      await expect(answer).rejects.toThrow();
    }
    const reader = connectClickHouse(server.readerUrl);
    const writing = clickHouseAlertStore(reader).writeAlerts([alert('ws_reader', 1)]);
    await expect(writing).rejects.toThrow();
    await reader.close();
  });
});
