import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../cli/ports.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { type Program, runProgram, type Stack, startProgram, startStack, until } from '../support/stack.ts';

let nats: TestNats;
let stack: Stack;
const programs: Program[] = [];

/** A role as another machine would run it: it knows the stores and the secret, nothing else. */
async function startRole(role: 'ingest' | 'query' | 'chain'): Promise<string> {
  const [port, healthPort] = [await freePort(), await freePort()];
  const program = startProgram([role], {
    IMMUTABLE_NATS_URL: stack.natsUrl,
    IMMUTABLE_NATS_MONITOR_URL: stack.natsMonitorUrl,
    IMMUTABLE_CLICKHOUSE_URL: stack.clickhouseUrls[role === 'chain' ? 'writer' : 'reader'],
    IMMUTABLE_SECRET_KEY_FILE: `${stack.directory.keys}/secret.key`,
    IMMUTABLE_PORT: String(port),
    IMMUTABLE_HEALTH_PORT: String(healthPort),
  });
  programs.push(program);
  await program.until(async () => {
    const answer = await fetch(`http://127.0.0.1:${healthPort}/readyz`).catch(() => undefined);
    return answer?.ok === true;
  }, 30_000);
  return `http://127.0.0.1:${port}`;
}

function call(url: string, body?: object): Promise<Response> {
  return fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

beforeAll(async () => {
  nats = await startTestNats();
  stack = await startStack({
    env: { IMMUTABLE_NATS_URL: nats.url, IMMUTABLE_NATS_MONITOR_URL: nats.monitorUrl },
  });
});

afterAll(async () => {
  await stack?.stop();
  for (const program of programs) await program.stop('SIGTERM');
  await nats?.stop();
});

describe('a stack with a NATS server of its operator', () => {
  it('starts none of its own', () => {
    expect(stack.natsUrl).toBe(nats.url);
    expect(stack.pid('nats')).toBeUndefined();
    expect(stack.output()).not.toContain('NATS server');
    const { children } = JSON.parse(readFileSync(stack.directory.runFile, 'utf8'));
    expect(Object.keys(children).sort()).toEqual(['anchor', 'chain', 'clickhouse', 'serve', 'tree']);
  });

  it('has room beside it for more edges and readers', async () => {
    const [edge, reader] = [await startRole('ingest'), await startRole('query')];
    const accepted = await call(`${edge}/api/v1/events`, { actor_id: 'tester', action: 'sent.elsewhere' });
    expect(accepted.status).toBe(202);
    const { id }: { id: string } = JSON.parse(await accepted.text());
    await until(async () => (await call(`${reader}/api/v1/events/${id}`)).ok, 20_000);

    // Each serves its own part alone, and all sign cursors alike.
    expect((await call(`${edge}/api/v1/events`)).status).toBe(405);
    expect((await call(`${reader}/api/v1/events`, {})).status).toBe(405);
    await call(`${edge}/api/v1/events`, { actor_id: 'tester', action: 'sent.elsewhere' });
    await until(async () => {
      const page = JSON.parse(await (await call(`${reader}/api/v1/events?limit=1`)).text());
      if (!page.pagination.has_more) return false;
      const next = `${stack.baseUrl}/api/v1/events?limit=1&cursor=${page.pagination.next_cursor}`;
      return (await call(next)).status === 200;
    }, 20_000);
  });

  it('goes on with a chain process elsewhere when its own dies and stays away', async () => {
    await startRole('chain');
    await stack.kill9('chain');
    const accepted = await call(`${stack.baseUrl}/api/v1/events`, { actor_id: 'tester', action: 'x.y' });
    const { id }: { id: string } = JSON.parse(await accepted.text());
    await until(async () => (await call(`${stack.baseUrl}/api/v1/events/${id}`)).ok, 30_000);
  });
});

describe('a role by itself', () => {
  it('says what it needs', async () => {
    const ended = await runProgram(['chain'], {});
    expect(ended.code).toBe(1);
    expect(ended.output).toContain('The role chain needs IMMUTABLE_NATS_URL and IMMUTABLE_CLICKHOUSE_URL.');
    const query = await runProgram(['query'], {});
    expect(query.output).toContain('The role query needs IMMUTABLE_SECRET_KEY.');
  });

  it('refuses another number of partitions than the installation has', async () => {
    const ended = await runProgram(['chain'], {
      IMMUTABLE_NATS_URL: stack.natsUrl,
      IMMUTABLE_CLICKHOUSE_URL: stack.clickhouseUrls.writer,
      IMMUTABLE_PARTITIONS: '16',
    });
    expect(ended.code).toBe(1);
    expect(ended.output).toContain('IMMUTABLE_PARTITIONS is 16, but this installation was made with 4');
  });

  it('refuses a ClickHouse that does not answer, saying so', async () => {
    const { code, output } = await runProgram(['migrate'], {
      IMMUTABLE_NATS_URL: stack.natsUrl,
      IMMUTABLE_CLICKHOUSE_ADMIN_URL: 'http://admin:secret@127.0.0.1:1',
    });
    expect(code).toBe(1);
    expect(output).toContain('ClickHouse at http://127.0.0.1:1 does not answer the user "admin"');
    expect(output).not.toContain('secret');
  });

  it('refuses a NATS that was not prepared', async () => {
    const empty = await startTestNats();
    const ended = await runProgram(['chain'], {
      IMMUTABLE_NATS_URL: empty.url,
      IMMUTABLE_CLICKHOUSE_URL: stack.clickhouseUrls.writer,
    });
    await empty.stop();
    expect(ended.code).toBe(1);
    expect(ended.output).toContain('Run `immutable migrate` once');
  });
});
