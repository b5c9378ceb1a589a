import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { checkpointText, type SigningKey, verifierKeyOf } from '../core/checkpoint.ts';
import { parseCosignerKey } from '../core/cosignature.ts';
import { checkPolicy, parsePolicy } from '../core/policy.ts';
import { encodeAddCheckpoint, parseAddCheckpoint } from '../core/witness-message.ts';
import { startHttpServer } from '../infra/http/server.ts';
import { createLogger } from '../infra/log.ts';
import { Registry } from '../infra/metrics.ts';
import { submitCheckpoint, type WitnessAddress } from '../pipeline/tree/witness-client.ts';
import { createSampleLog, type SampleLog } from '../test/support/log.ts';
import { createCosigner } from './cosigner.ts';
import { originHash, prepareWitnessFiles } from './files.ts';
import { createKeeper, type Keeper } from './keeper.ts';
import { startWitness, verifierKeyIn } from './main.ts';

const NAME = 'witness.example.test/w1';
const LOG = createSampleLog('audit.example.test/ws_1');
const log = createLogger('witness', 'silent');
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const newDirectory = () => mkdtempSync(join(tmpdir(), 'immutable-witness-'));

interface Running extends WitnessAddress {
  verifierKey: string;
  stop(): Promise<void>;
}

/** A witness over real HTTP that follows every log of the origin `audit.example.test`. */
async function run(directory: string, kind: 'uws' | 'node' = 'uws'): Promise<Running> {
  const { publicKey } = verifierKeyOf(LOG.key);
  const witness = await startWitness({
    directory,
    name: NAME,
    trusted: { logs: [], families: [{ name: 'audit.example.test', publicKey }] },
    log,
    metrics: new Registry(),
  });
  const server = await startHttpServer({ kind, host: '127.0.0.1', port: 0, routes: witness.routes, log });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= server.close(1_000).then(() => witness.stop());
    return stopped;
  };
  stops.push(stop);
  return {
    key: parseCosignerKey(witness.verifierKey)!,
    url: `http://127.0.0.1:${server.port}`,
    verifierKey: witness.verifierKey,
    stop,
  };
}

function submit(witness: WitnessAddress, size: number, rememberedSize: number, source: SampleLog = LOG) {
  const { proofFrom } = source;
  return submitCheckpoint({ witness, note: source.noteOf(size), rememberedSize, proofFrom });
}

async function post(witness: WitnessAddress, body: string | Uint8Array) {
  const response = await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body });
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    body: await response.text(),
  };
}

async function bodyFor(oldSize: number, size: number, source = LOG): Promise<string> {
  const consistencyProof = await source.proofFrom(oldSize, size);
  return encodeAddCheckpoint({ oldSize, consistencyProof, note: source.noteOf(size) });
}

describe.each(['uws', 'node'] as const)('a log and its witness, over %s', (kind) => {
  it('whose cosignatures satisfy the policy that names it', async () => {
    const witness = await run(newDirectory(), kind);
    const policy = parsePolicy(
      `log ${LOG.verifierKey}\nwitness W ${witness.verifierKey} ${witness.url}\nquorum W\n`,
    );
    let rememberedSize = 0;
    for (const size of [1, 2, 7, 7, 64, 200]) {
      const before = Math.floor(Date.now() / 1000);
      const result = await submit(witness, size, rememberedSize);
      if (result.kind !== 'cosigned') throw new Error(result.detail);
      expect(result.size).toBe(size);
      expect(result.timestampSeconds).toBeGreaterThanOrEqual(before);
      expect(checkPolicy(LOG.noteOf(size), policy)).toMatchObject({ ok: false, reason: 'no_quorum' });
      expect(checkPolicy(LOG.noteOf(size) + result.line, policy)).toMatchObject({
        ok: true,
        checkpoint: { size },
        cosignatures: [{ witness: { name: 'W' }, timestampSeconds: result.timestampSeconds }],
      });
      rememberedSize = result.size;
    }
  });

  it('that remembers another size than the log: it asks again', async () => {
    const witness = await run(newDirectory(), kind);
    expect(await submit(witness, 10, 4)).toMatchObject({ kind: 'cosigned', size: 10 });
    expect(await submit(witness, 20, 0)).toMatchObject({ kind: 'cosigned', size: 20 });
    expect(await submit(witness, 30, 29)).toMatchObject({ kind: 'cosigned', size: 30 });
    expect(await submit(witness, 30, 5)).toMatchObject({ kind: 'cosigned', size: 30 });
    expect(await submit(witness, 29, 28)).toMatchObject({ kind: 'failed', reason: 'ahead', knownSize: 30 });
    expect(await submit(witness, 29, 100)).toMatchObject({ kind: 'failed', reason: 'ahead' });
  });

  it('to whom a fork is shown', async () => {
    const witness = await run(newDirectory(), kind);
    await submit(witness, 10, 0);
    const fork = LOG.forkedAfter(6);
    expect(await submit(witness, 10, 10, fork)).toMatchObject({ kind: 'failed', reason: 'fork' });
    expect(await submit(witness, 10, 0, fork)).toMatchObject({ kind: 'failed', reason: 'fork' });
    expect(await submit(witness, 20, 10, fork)).toMatchObject({ kind: 'failed', reason: 'not_consistent' });
    expect(await submit(witness, 20, 10)).toMatchObject({ kind: 'cosigned' });
  });

  it('answers each mistake with its status', async () => {
    const witness = await run(newDirectory(), kind);
    const elsewhere = createSampleLog('elsewhere.example.test/ws_1');
    const impostor = createSampleLog(LOG.origin, 200, 9);
    expect((await post(witness, await bodyFor(0, 5, elsewhere))).status).toBe(404);
    expect((await post(witness, await bodyFor(0, 5, impostor))).status).toBe(403);
    expect((await post(witness, 'old 0\n')).status).toBe(400);
    expect((await post(witness, Uint8Array.of(0xff, 0xfe))).status).toBe(400);
    expect((await post(witness, `old 6\n\n${LOG.noteOf(5)}`)).status).toBe(400);
    expect((await post(witness, 'x'.repeat(65 * 1024))).status).toBe(413);
    expect((await fetch(`${witness.url}/add-checkpoint`)).status).toBe(405);

    expect((await post(witness, await bodyFor(0, 5))).status).toBe(200);
    expect(await post(witness, await bodyFor(0, 9))).toEqual({
      status: 409,
      type: 'text/x.tlog.size',
      body: '5\n',
    });
    const forked = await post(witness, await bodyFor(5, 5, LOG.forkedAfter(3)));
    expect(forked).toMatchObject({ status: 409, type: expect.stringContaining('text/plain') });
    const wrongProof = (await bodyFor(5, 9)).replace(/\n.*\n/, '\n');
    expect(parseAddCheckpoint(wrongProof)).not.toBeNull();
    expect((await post(witness, wrongProof)).status).toBe(422);
  });
});

describe('what a witness keeps', () => {
  it('is there after a restart', async () => {
    const directory = newDirectory();
    const first = await run(directory);
    await submit(first, 10, 0);
    await first.stop();
    const second = await run(directory);
    expect(second.key).toEqual(first.key);
    expect(await submit(second, 10, 0, LOG.forkedAfter(6))).toMatchObject({ reason: 'fork' });
    expect(await post(second, await bodyFor(0, 20))).toMatchObject({ status: 409, body: '10\n' });
    expect(await submit(second, 20, 10)).toMatchObject({ kind: 'cosigned' });
  });

  it('is one note for each origin, which anyone may fetch', async () => {
    const directory = newDirectory();
    const witness = await run(directory);
    const other = createSampleLog('audit.example.test/ws_2');
    await submit(witness, 10, 0);
    const result = await submit(witness, 12, 10);
    await submit(witness, 3, 0, other);

    const urlOf = (origin: string) => `${witness.url}/checkpoints/${originHash(origin)}`;
    const note = await (await fetch(urlOf(LOG.origin))).text();
    expect(note).toBe(LOG.noteOf(12) + (result.kind === 'cosigned' ? result.line : ''));
    expect((await (await fetch(urlOf(other.origin))).text()).startsWith(other.noteOf(3))).toBe(true);
    expect((await fetch(urlOf('audit.example.test/ws_3'))).status).toBe(404);
    expect((await fetch(`${witness.url}/checkpoints/..%2fkey.json`)).status).toBe(404);
    expect(await (await fetch(`${witness.url}/`)).text()).toBe(`${witness.verifierKey}\n`);

    const files = readdirSync(join(directory, 'checkpoints')).sort();
    expect(files).toEqual([originHash(LOG.origin), originHash(other.origin)].sort());
    for (const file of [
      join(directory, 'key.json'),
      ...files.map((name) => join(directory, 'checkpoints', name)),
    ])
      expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('holds no signatures but those that were verified', async () => {
    const witness = await run(newDirectory());
    const stranger = createSampleLog(LOG.origin, 200, 8).noteOf(10).split('\n\n')[1];
    await submitCheckpoint({
      witness,
      note: LOG.noteOf(10) + stranger,
      rememberedSize: 0,
      proofFrom: LOG.proofFrom,
    });
    const note = await (await fetch(`${witness.url}/checkpoints/${originHash(LOG.origin)}`)).text();
    expect(note.startsWith(LOG.noteOf(10))).toBe(true);
    expect(note).not.toContain(stranger);
  });

  it('is not begun anew where it is damaged, or was made by another key', async () => {
    const directory = newDirectory();
    const witness = await run(directory);
    await submit(witness, 10, 0);
    const path = join(directory, 'checkpoints', originHash(LOG.origin));
    const kept = readFileSync(path, 'utf8');
    const { origin } = LOG;
    const smaller = `${checkpointText(origin, 1, new Uint8Array(32))}\n${kept.split('\n\n')[1]}`;
    for (const damaged of ['', kept.slice(0, -1), smaller, LOG.noteOf(10)]) {
      writeFileSync(path, damaged);
      expect((await post(witness, await bodyFor(0, 20))).status).toBe(500);
      expect(readFileSync(path, 'utf8')).toBe(damaged);
    }
    writeFileSync(path, kept);
    expect((await post(witness, await bodyFor(10, 20))).status).toBe(200);
  });

  it('is not left to a new key', async () => {
    const directory = newDirectory();
    const witness = await run(directory);
    await submit(witness, 10, 0);
    await witness.stop();
    const keyFile = join(directory, 'key.json');
    const key = readFileSync(keyFile, 'utf8');
    writeFileSync(keyFile, '{"name":"x"}');
    await expect(run(directory)).rejects.toMatchObject({ code: 'misconfigured' });
    writeFileSync(keyFile, key);
    await expect(verifierKeyIn(directory, 'another.example.test')).rejects.toMatchObject({
      code: 'misconfigured',
      message: `This witness is ${NAME}, not another.example.test.`,
    });
    expect(await verifierKeyIn(directory, undefined)).toBe(witness.verifierKey);
  });

  it.each([undefined, '', 'two words', 'a+b'])('needs a name to begin with: %j is none', async (name) => {
    await expect(verifierKeyIn(newDirectory(), name)).rejects.toMatchObject({ code: 'misconfigured' });
  });
});

describe('requests for one origin at the same moment', () => {
  it('are decided one after the other: one of two wins, and nothing is rolled back', async () => {
    const witness = await run(newDirectory());
    let known = 0;
    for (let round = 0; round < 20; round += 1) {
      const sizes = [known + 1, known + 4, known + 2];
      const bodies = await Promise.all(sizes.map((size) => bodyFor(known, size)));
      const answers = await Promise.all(bodies.map((body) => post(witness, body)));
      const won = sizes.filter((_, index) => answers[index]?.status === 200);
      expect(won).toHaveLength(1);
      known = won[0]!;
      expect(answers.filter(({ status }) => status === 409).map(({ body }) => body)).toEqual([
        `${known}\n`,
        `${known}\n`,
      ]);
    }
  });

  it('also where the disk is slow, and the larger one faster than the smaller: the race of the specification', async () => {
    const files = prepareWitnessFiles(newDirectory());
    const key: SigningKey = { name: NAME, seed: new Uint8Array(32).fill(5) };
    const keeper = createKeeper(files.checkpoints, verifierKeyOf(key));
    // The first write takes longer than the second one.
    const delaysMs = [100, 0];
    const slow: Keeper = {
      ...keeper,
      async keep(kept) {
        await sleep(delaysMs.shift() ?? 0);
        await keeper.keep(kept);
      },
    };
    const cosigner = createCosigner({
      key,
      trusted: { logs: [verifierKeyOf(LOG.key)], families: [] },
      keeper: slow,
      claim: { isHeld: () => true, check() {}, release() {} },
      nowMs: Date.now,
      log,
    });
    const answers = await Promise.all([
      cosigner.submit(await bodyFor(0, 10)),
      cosigner.submit(await bodyFor(0, 15)),
    ]);
    expect(answers).toMatchObject([{ status: 200 }, { status: 409, knownSize: 10 }]);
    expect((await keeper.latest(LOG.origin))?.checkpoint.size).toBe(10);
  });

  it('of different logs do not wait for each other', async () => {
    const witness = await run(newDirectory());
    const logs = Array.from({ length: 30 }, (_, index) =>
      createSampleLog(`audit.example.test/ws_${index}`, 20),
    );
    const results = await Promise.all(logs.map((one) => submit(witness, 20, 0, one)));
    expect(results.every(({ kind }) => kind === 'cosigned')).toBe(true);
  });
});

describe('a directory', () => {
  it('is for one process: whoever took it from a living one makes that one stop cosigning', async () => {
    const directory = newDirectory();
    const first = await run(directory);
    await submit(first, 10, 0);
    await expect(run(directory)).rejects.toMatchObject({ code: 'misconfigured' });
    // As after a restart of the machine whose process ids begin again.
    const claim = join(directory, 'claim.json');
    writeFileSync(claim, JSON.stringify({ pid: process.pid, identity: 'gone', token: 'x' }));
    expect((await post(first, await bodyFor(10, 20))).status).toBe(500);
    const second = await run(directory);
    expect(await submit(second, 20, 10)).toMatchObject({ kind: 'cosigned' });
    expect((await post(first, await bodyFor(20, 30))).status).toBe(500);
    await first.stop();
    expect(await submit(second, 30, 20)).toMatchObject({ kind: 'cosigned' });
  });
});
