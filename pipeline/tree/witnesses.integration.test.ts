import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openNote, type SigningKey, verifierKeyOf } from '../../core/checkpoint.ts';
import { cosign, encodeCosignerKey } from '../../core/cosignature.ts';
import { checkPolicy, parsePolicy } from '../../core/policy.ts';
import { parseAddCheckpoint } from '../../core/witness-message.ts';
import { createLogger } from '../../infra/log.ts';
import { createSampleLog } from '../../test/support/log.ts';
import { eventually } from '../chain/testing/stage.ts';
import type { SignedCheckpoint } from './store.ts';
import { memoryTreeStore } from './testing/memory-store.ts';
import { startWitnesses, type Witnesses } from './witnesses.ts';

const WORKSPACE = 'ws_00000000000000a1';
const LOG = createSampleLog(`log.test/${WORKSPACE}`);
const TIMING = { requestTimeoutMs: 500, firstRetryMs: 20, longestRetryMs: 50 };

/** Somebody's witness; `answer` decides for each request, by default as one that has never seen the log. */
interface TestWitness {
  name: string;
  key: SigningKey;
  url: string;
  oldSizes: number[];
  answer: (body: string) => { status: number; body: string; type?: string };
}

let store: ReturnType<typeof memoryTreeStore>;
let forks: string[];
const stops: (() => void)[] = [];
let running: Witnesses | undefined;

beforeEach(() => {
  store = memoryTreeStore(() => []);
  forks = [];
});
afterEach(() => {
  running?.stop();
  for (const stop of stops.splice(0)) stop();
});

async function witnessCalled(name: string, seed: number): Promise<TestWitness> {
  const key: SigningKey = { name: `${name}.test`, seed: new Uint8Array(32).fill(seed) };
  const witness: TestWitness = {
    name,
    key,
    url: '',
    oldSizes: [],
    answer: (body) => ({
      status: 200,
      body: cosign(textOf(parseAddCheckpoint(body)?.note ?? ''), key, 1_700_000_000),
    }),
  };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => {
      body += piece;
    });
    request.on('end', () => {
      witness.oldSizes.push(parseAddCheckpoint(body)?.oldSize ?? -1);
      const { status, body: answer, type = 'text/plain' } = witness.answer(body);
      response.writeHead(status, { 'content-type': type }).end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => server.close().closeAllConnections());
  witness.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return witness;
}

function textOf(note: string): string {
  return openNote(note)?.text ?? '';
}

function policyOf(witnesses: readonly TestWitness[], quorum: string) {
  const lines = witnesses.map(
    ({ name, key, url }) => `witness ${name} ${encodeCosignerKey(verifierKeyOf(key))} ${url}`,
  );
  const group = `group needed ${quorum} ${witnesses.map(({ name }) => name).join(' ')}`;
  return parsePolicy(`${[...lines, group, 'quorum needed'].join('\n')}\n`);
}

function checkpointOf(size: number): SignedCheckpoint {
  const note = LOG.noteOf(size);
  const root = Buffer.from(textOf(note).split('\n')[2] ?? '', 'base64').toString('hex');
  const signedAt = '2026-03-15T12:00:00.000000Z';
  return { workspaceId: WORKSPACE, size, root, note, cosignatures: 0, isWitnessed: false, signedAt };
}

function start(witnesses: readonly TestWitness[], quorum: string): Witnesses {
  running = startWitnesses({
    policy: policyOf(witnesses, quorum),
    store,
    log: createLogger('test', 'silent'),
    timing: TIMING,
    onCosigned: () => {},
    onFork: async ({ size }, witness, { reason }) => {
      forks.push(`${size} ${witness} ${reason}`);
    },
  });
  return running;
}

const newest = () => store.newestCheckpoint(WORKSPACE);

describe('checkpoints that are shown to witnesses', () => {
  it('are kept with their cosignatures, and hold by the policy', async () => {
    const witnesses = [await witnessCalled('A', 1), await witnessCalled('B', 2)];
    const policy = policyOf(witnesses, 'all');
    start(witnesses, 'all').offer([checkpointOf(20)]);
    const found = await eventually(newest, (row) => row?.isWitnessed === true);
    expect(found).toMatchObject({ size: 20, cosignatures: 2 });
    expect(
      checkPolicy(found?.note ?? '', { ...policy, logs: [{ key: verifierKeyOf(LOG.key), url: undefined }] }),
    ).toMatchObject({
      ok: true,
    });
  });

  it('gather them over several rounds: each witness is asked until it has cosigned, and no longer', async () => {
    const [a, b] = [await witnessCalled('A', 1), await witnessCalled('B', 2)];
    const cosigning = b.answer;
    b.answer = () => ({ status: 500, body: 'not now' });
    start([a, b], 'all').offer([checkpointOf(20)]);
    await eventually(
      () => b.oldSizes.length,
      (requests) => requests >= 3,
    );
    expect(await newest()).toMatchObject({ cosignatures: 1, isWitnessed: false });
    b.answer = cosigning;
    expect(await eventually(newest, (row) => row?.isWitnessed === true)).toMatchObject({ cosignatures: 2 });
    expect(a.oldSizes).toHaveLength(1);
  });

  it('count as witnessed once the quorum is there, while the others are asked on', async () => {
    const [a, b] = [await witnessCalled('A', 1), await witnessCalled('B', 2)];
    const cosigning = b.answer;
    b.answer = () => ({ status: 503, body: '' });
    start([a, b], 'any').offer([checkpointOf(20)]);
    await eventually(newest, (row) => row?.isWitnessed === true && row.cosignatures === 1);
    b.answer = cosigning;
    await eventually(newest, (row) => row?.cosignatures === 2);
  });

  it('give way to a newer one of the same workspace', async () => {
    const a = await witnessCalled('A', 1);
    const cosigning = a.answer;
    a.answer = () => ({ status: 503, body: '' });
    const witnesses = start([a], 'all');
    witnesses.offer([checkpointOf(10)]);
    await eventually(
      () => a.oldSizes.length,
      (requests) => requests >= 2,
    );
    a.answer = cosigning;
    witnesses.offer([checkpointOf(20)]);
    await eventually(newest, (row) => row?.size === 20 && row.isWitnessed);
  });

  it('are not asked for again at a start, where all of it was done before', async () => {
    const a = await witnessCalled('A', 1);
    const checkpoint = checkpointOf(20);
    const first = start([a], 'all');
    first.offer([checkpoint]);
    await eventually(newest, (row) => row?.isWitnessed === true);
    first.stop();
    start([a], 'all').offerUnlessWitnessed([checkpoint]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(a.oldSizes).toHaveLength(1);
  });

  it('are asked for at a start where a process ended before it was done', async () => {
    const a = await witnessCalled('A', 1);
    await store.writeCheckpoints([checkpointOf(20)]);
    start([a], 'all').offerUnlessWitnessed([checkpointOf(20)]);
    await eventually(newest, (row) => row?.isWitnessed === true);
  });

  it('raise an alarm where a witness knows another log', async () => {
    const a = await witnessCalled('A', 1);
    a.answer = () => ({ status: 422, body: 'the proof fails' });
    start([a], 'all').offer([checkpointOf(20)]);
    await eventually(
      () => forks,
      (found) => found.length > 0,
    );
    expect(forks[0]).toBe('20 A not_consistent');
    expect(await newest()).toBeUndefined();
  });

  it('do not let what one witness answers pass for what another signed', async () => {
    const [a, b] = [await witnessCalled('A', 1), await witnessCalled('B', 2)];
    b.answer = a.answer;
    start([a, b], 'all').offer([checkpointOf(20)]);
    await eventually(newest, (row) => row?.cosignatures === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await newest()).toMatchObject({ cosignatures: 1, isWitnessed: false });
  });
});
