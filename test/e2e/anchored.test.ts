import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { dataDirAt } from '../../cli/data-dir.ts';
import { findRunning } from '../../cli/run-file.ts';
import { CHECK } from '../../query/anchors/script.ts';
import { checkLog, reportText } from '../check-log/check-log.ts';
import { anvil, describeNeeding, programs } from '../support/requirements.ts';
import { type Ended, runProgram, type Stack, startStack, until } from '../support/stack.ts';

/** The whole story in a running stack: events, anchors on a chain, and everybody who looks at them. */

await describeNeeding(anvil, 'a log that is anchored', async () => {
  let stack: Stack;
  let folder: string;
  const events: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'immutable-anchored-'));
    stack = await startStack({ args: ['--local-chain'] });
    for (const count of [3, 5]) {
      for (let sent = 0; sent < count; sent += 1) events.push(await send());
      const newest = events.at(-1);
      await until(async () => (await api(`/events/${newest}/proof`)).ok, 30_000);
      const made = await runProgram(['anchor', 'run', '--now', '--json'], {
        IMMUTABLE_DATA_DIR: stack.directory.path,
      });
      expect(made.code, made.output).toBe(0);
    }
    events.push(await send());
    await until(
      async () =>
        (await data('/anchors')).every((anchor: { status: string }) => anchor.status === 'confirmed'),
      30_000,
    );
    await until(async () => (await api(`/events/${events.at(-1)}/proof`)).ok, 30_000);
  }, 120_000);

  afterAll(async () => {
    await stack?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function api(path: string, body?: object, key: string | null = stack.apiKey): Promise<Response> {
    return await fetch(`${stack.baseUrl}/api/v1${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  // biome-ignore lint/suspicious/noExplicitAny: what a test reads is whatever the API answers
  async function data(path: string, key?: null): Promise<any> {
    const response = await api(path, undefined, key === null ? null : stack.apiKey);
    const body = (await response.json()) as { data: unknown };
    expect(response.status, JSON.stringify(body)).toBe(200);
    return body.data;
  }

  async function send(): Promise<string> {
    const accepted = await api('/events', { actor_id: 'tester', action: 'thing.done' });
    return ((await accepted.json()) as { id: string }).id;
  }

  function chain(): { rpc_url: string; chain_id: number; contract: string } {
    const running = findRunning(dataDirAt(stack.directory.path).runFile)?.local_chain;
    if (running === undefined || running === null) throw new Error('there is no local chain');
    return running;
  }

  it('shows its anchors, each of which verifies, with a key and without', async () => {
    const anchors = await data('/anchors');
    expect(anchors).toMatchObject([
      { size: 8, events_count: 5, status: 'confirmed', chain: 'local', contract: chain().contract },
      { size: 3, events_count: 3, status: 'confirmed', previous_anchor_hash: null },
    ]);
    for (const { id, tx_hash, merkle_root } of anchors) {
      for (const key of [undefined, null] as const) {
        const verified = await data(`${key === null ? '/public' : ''}/anchors/${id}/verify`, key);
        expect(verified, JSON.stringify(verified)).toMatchObject({ valid: true, chain_valid: true });
        for (const { name, outcome } of verified.checks) expect([name, outcome]).toEqual([name, 'passed']);
      }
      const found = await data(`/public/anchors/lookup?tx_hash=${tx_hash}`, null);
      expect(found.anchor).toMatchObject({ id, merkle_root });
    }
    expect(await data('/verify')).toMatchObject({ valid: true, breaks: [], anchors_checked: 2 });
  });

  it('gives evidence that a stranger looks up on the chain', async () => {
    for (const [event, size] of [
      [events[0], 3],
      [events[3], 8],
    ] as const) {
      const evidence = (await (await api(`/events/${event}/proof`)).json()) as {
        inclusion: { tree_size: number };
      };
      expect(evidence.inclusion.tree_size).toBe(size);
      const ended = await verify(evidence);
      expect(ended.output).toMatch(/✓ anchor {6}the checkpoint is one of those/);
      expect(ended.output).toMatch(/✓ on_chain {4}the contract that you trust/);
      // Nobody told the stranger whose key it is.
      expect(ended.code).toBe(2);
    }
    const early = await (await api(`/events/${events.at(-1)}/proof`)).json();
    expect(early).toMatchObject({ anchor: null });
    expect((await verify(early)).output).toMatch(/\? on_chain {4}the event is not anchored/);
  });

  function verify(evidence: unknown): Promise<Ended> {
    const file = join(folder, 'evidence.json');
    writeFileSync(file, JSON.stringify(evidence));
    const { rpc_url, chain_id, contract } = chain();
    const place = ['--chain-id', String(chain_id), '--contract', contract, '--rpc', rpc_url];
    return runProgram(['verify', file, ...place], { XDG_STATE_HOME: folder });
  }

  await describeNeeding(programs('curl, xxd and sha256sum', 'curl', 'xxd', 'sha256sum'), 'its page', () => {
    it('has commands that work as they stand there', async () => {
      const [{ id, anchor_root }] = await data('/anchors');
      const page = await (await fetch(`${stack.baseUrl}/public/anchors/${id}`)).text();
      const [values = '', script = ''] = [...page.matchAll(/<pre>([\s\S]*?)<\/pre>/g)].map(([, text = '']) =>
        text
          .replaceAll('&lt;', '<')
          .replaceAll('&gt;', '>')
          .replaceAll('&quot;', '"')
          .replaceAll('&#39;', "'")
          .replaceAll('&amp;', '&'),
      );
      expect(script).toBe(CHECK);
      const own = values.replace(/^rpc='.*'$/m, `rpc='${chain().rpc_url}'`);
      const { stdout } = await promisify(execFile)('sh', ['-c', `${own}\n${script}`]);
      expect(stdout).toContain(`Root ${anchor_root} was written into block`);
    });
  });

  it('is found whole by the checker of everything', async () => {
    const running = findRunning(dataDirAt(stack.directory.path).runFile);
    const report = await checkLog({
      clickhouse: running?.clickhouse_admin_url ?? '',
      nats: running?.nats_url ?? undefined,
    });
    expect(report.ok, reportText(report)).toBe(true);
    expect(reportText(report)).toMatch(/✓ every anchor is signed.* \(2\)/);
  });
});
