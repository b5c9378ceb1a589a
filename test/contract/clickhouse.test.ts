import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';

let server: TestClickHouse;
let admin: ClickHouseClient;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
});

afterAll(async () => {
  await admin?.close();
  await server?.stop();
});

test('answers', async () => {
  const result = await admin.query({ query: 'SELECT name FROM system.tables WHERE database = {d:String} ORDER BY name', query_params: { d: 'immutable' }, format: 'JSONEachRow' });
  expect(await result.json()).toEqual([]);
});
