import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePolicy } from '../../core/policy.ts';
import { type Ended, runProgram, type Stack, startStack, until } from '../support/stack.ts';

/** What an auditor does, with the real program and a real installation. */

const EVENTS = 700;

let stack: Stack;
let folder: string;
let policy: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'immutable-auditor-'));
  policy = join(folder, 'policy');
  stack = await startStack();
  await send(EVENTS);
});
afterAll(async () => {
  await stack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The auditor's machine has no data directory. */
function verify(...args: string[]): Promise<Ended> {
  return runProgram(['verify', ...args], {
    IMMUTABLE_API_KEY: stack.apiKey,
    IMMUTABLE_DATA_DIR: join(folder, 'none'),
    XDG_STATE_HOME: folder,
  });
}

async function api(path: string, body?: unknown): Promise<Response> {
  return await fetch(`${stack.baseUrl}/api/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function send(count: number): Promise<void> {
  for (let from = 0; from < count; from += 100) {
    const events = Array.from({ length: Math.min(100, count - from) }, (_, index) => ({
      actor_id: `user_${index % 7}`,
      actor_name: 'Sarah Chen',
      action: 'document.created',
      metadata: { index: from + index, ratio: 0.1 },
    }));
    expect((await api('/events/batch', { events })).status).toBe(202);
  }
}

async function untilSigned(size: number): Promise<void> {
  await until(async () => {
    const response = await api('/checkpoint');
    const note = await response.text();
    return response.ok && Number(note.split('\n')[1]) >= size;
  }, 30_000);
}

/** Fetches what an export made, file and manifest, into the folder. */
async function fetchExport(format: string): Promise<string> {
  const created = await (await api('/exports', { format })).json();
  const { id } = Object(created).data;
  let done = { download_url: '', manifest_url: '' };
  await until(async () => {
    const { data } = Object(await (await api(`/exports/${id}`)).json());
    done = data;
    return data.status === 'completed';
  }, 60_000);
  const file = join(folder, `immutable-${id}.${format}`);
  for (const [url, path] of [
    [done.download_url, file],
    [done.manifest_url, join(folder, `immutable-${id}.manifest.json`)],
  ] as const) {
    writeFileSync(path, Buffer.from(await (await fetch(url)).arrayBuffer()));
  }
  return file;
}

describe('an auditor', () => {
  it('pins the keys, and reads the whole log', async () => {
    await untilSigned(EVENTS);
    const pinned = await verify(stack.baseUrl, '--pin');
    expect(pinned.code).toBe(0);
    expect(parsePolicy(pinned.stdout).logs).toHaveLength(1);
    writeFileSync(policy, pinned.stdout);

    const unknown = await verify(stack.baseUrl);
    expect(unknown.code).toBe(2);
    expect(unknown.stdout).toContain('? Unknown signer');

    const first = await verify(stack.baseUrl, '--policy', policy, '--json');
    expect(first.code, first.output).toBe(0);
    expect(JSON.parse(first.stdout)).toMatchObject({ verdict: 'valid', events: EVENTS, size_before: null });
  });

  it('comes again, and finds that it only grew', async () => {
    await send(50);
    await untilSigned(EVENTS + 50);
    const again = await verify(stack.baseUrl, '--policy', policy, '--new', '--json');
    expect(again.code, again.output).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ events: 50, size_before: EVENTS });
  });

  it('checks evidence of one event, and hands it on without personal data', async () => {
    const { data } = Object(await (await api('/events?limit=1')).json());
    const evidence = join(folder, 'evidence.json');
    writeFileSync(evidence, await (await api(`/events/${data[0].id}/proof`)).text());
    const whole = await verify(evidence, '--policy', policy);
    expect(whole.code, whole.output).toBe(0);

    const redacted = join(folder, 'redacted.json');
    writeFileSync(redacted, (await verify(evidence, '--redact')).stdout);
    expect(readFileSync(redacted, 'utf8')).not.toContain('Sarah Chen');
    const partly = await verify(redacted, '--policy', policy);
    expect(partly.code, partly.output).toBe(0);
    expect(partly.stdout).toContain('the private members are withheld');
  });

  it.each(['ndjson', 'parquet'])('checks an export in %s, without network', async (format) => {
    const ended = await verify(await fetchExport(format), '--policy', policy);
    expect(ended.output).toContain('✓ inclusion');
    expect(ended.code, ended.output).toBe(0);
  });

  it('finds a name that was changed in an export, however well its manifest fits', async () => {
    const file = await fetchExport('ndjson');
    const lines = readFileSync(file, 'utf8').split('\n');
    lines[232] = (lines[232] ?? '').replace('"actor_name":"Sarah Chen"', '"actor_name":"Eve"');
    const content = lines.join('\n');
    writeFileSync(file, content);
    const manifest = file.replace('.ndjson', '.manifest.json');
    const sha256 = createHash('sha256').update(content).digest('hex');
    const forged = {
      ...JSON.parse(readFileSync(manifest, 'utf8')),
      file_size: Buffer.byteLength(content),
      sha256,
    };
    writeFileSync(manifest, JSON.stringify(forged));
    const ended = await verify(file, '--policy', policy);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain(
      '✗ cells       event 233: actor_name is "Eve", the private text says "Sarah Chen"',
    );
  });

  it('is told of wrong usage by 2', async () => {
    expect((await verify('/nowhere')).code).toBe(2);
    expect((await verify()).code).toBe(2);
    expect((await verify(stack.baseUrl, '--watch', 'soon')).code).toBe(2);
  });
});
