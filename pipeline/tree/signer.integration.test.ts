import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openNote, parseCheckpoint, verifierKeyOf, verifyNote } from '../../core/checkpoint.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { createLogger } from '../../infra/log.ts';
import { connectNats, type NatsConnection } from '../../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import type { Growth } from './growing-tree.ts';
import { createSigner, type SignerOptions } from './signer.ts';

const SEED = new Uint8Array(32).fill(1);
const OLD_SEED = new Uint8Array(32).fill(2);

let nats: TestNats;
let nc: NatsConnection;
let bucket: Bucket;
let workspaces = 0;

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: 'test', log: createLogger('test', 'silent') });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
  bucket = await openBucket(nc, BUCKETS.checkpoints);
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
});

function newWorkspace(): string {
  workspaces += 1;
  return `ws_${workspaces.toString(16).padStart(16, '0')}`;
}

function growth(size: number, fill = size): Growth {
  return {
    size,
    root: new Uint8Array(32).fill(fill),
    head: { seq: size, createdAt: '2026-03-15T12:00:00.000000Z', eventHash: 'ab'.repeat(32) },
  };
}

function signerOf(options: Partial<SignerOptions> = {}) {
  return createSigner({
    bucket,
    logOrigin: 'log.example',
    seeds: () => [SEED],
    hasher: nativeHasher,
    now: () => '2026-03-15T12:00:01.000000Z',
    ...options,
  });
}

const keyOf = (workspaceId: string, seed = SEED) =>
  verifierKeyOf({ name: `log.example/${workspaceId}`, seed });

describe('the signer', () => {
  it('signs the checkpoint of a tree, and stores it before it answers', async () => {
    const workspaceId = newWorkspace();
    const { record, revision } = await signerOf().sign(workspaceId, undefined, growth(7));
    expect(await bucket.get(workspaceId)).toEqual({ key: workspaceId, value: record, revision });
    expect(record).toMatchObject({
      size: 7,
      root: '07'.repeat(32),
      signed_at: '2026-03-15T12:00:01.000000Z',
      last_created_at: '2026-03-15T12:00:00.000000Z',
      last_event_hash: 'ab'.repeat(32),
    });
    const verdict = verifyNote(record.note, [keyOf(workspaceId)]);
    expect(verdict.ok && parseCheckpoint(verdict.text)).toEqual({
      origin: `log.example/${workspaceId}`,
      size: 7,
      root: new Uint8Array(32).fill(7),
    });
  });

  it('signs for no other workspace: the key of one log verifies nothing of another', async () => {
    const [one, other] = [newWorkspace(), newWorkspace()];
    const { record } = await signerOf().sign(one, undefined, growth(7));
    expect(verifyNote(record.note, [keyOf(other)])).toEqual({ ok: false, reason: 'unknown_signer' });
    expect(openNote(record.note)?.signatures.map(({ name }) => name)).toEqual([`log.example/${one}`]);
  });

  it('signs with every key that signs now, and each signature holds by itself', async () => {
    const workspaceId = newWorkspace();
    const signer = signerOf({ seeds: () => [SEED, OLD_SEED] });
    const { record } = await signer.sign(workspaceId, undefined, growth(3));
    expect(openNote(record.note)?.signatures).toHaveLength(2);
    const keys = [keyOf(workspaceId), keyOf(workspaceId, OLD_SEED)];
    for (const key of keys)
      expect(verifyNote(record.note, [key])).toMatchObject({ ok: true, signedBy: [key] });
    expect(verifyNote(record.note, keys)).toMatchObject({ ok: true, signedBy: keys });
  });

  it('signs nothing without a key', async () => {
    const workspaceId = newWorkspace();
    const signer = signerOf({ seeds: () => [] });
    await expect(signer.sign(workspaceId, undefined, growth(3))).rejects.toMatchObject({
      code: 'misconfigured',
    });
    expect(await bucket.get(workspaceId)).toBeUndefined();
  });

  it('never signs a smaller size, nor another root of the same', async () => {
    const workspaceId = newWorkspace();
    const signer = signerOf();
    const last = await signer.sign(workspaceId, undefined, growth(5));
    for (const wrong of [growth(4), growth(5, 99), growth(1)]) {
      await expect(signer.sign(workspaceId, last, wrong)).rejects.toMatchObject({ code: 'internal' });
    }
    expect((await bucket.get(workspaceId))?.revision).toBe(last.revision);
  });

  it('answers with what it has for the same tree', async () => {
    const workspaceId = newWorkspace();
    const signer = signerOf();
    const last = await signer.sign(workspaceId, undefined, growth(5));
    expect(await signer.sign(workspaceId, last, growth(5))).toBe(last);
    expect((await bucket.get(workspaceId))?.revision).toBe(last.revision);
  });

  it('finds its own checkpoint when the answer was lost', async () => {
    const workspaceId = newWorkspace();
    const losing: Bucket = {
      ...bucket,
      create: async (key, value) => {
        await bucket.create(key, value);
        throw new Error('timeout');
      },
      update: async (key, value, revision) => {
        await bucket.update(key, value, revision);
        throw new Error('timeout');
      },
    };
    let last = undefined as Awaited<ReturnType<ReturnType<typeof signerOf>['sign']>> | undefined;
    for (const size of [5, 6]) {
      await expect(signerOf({ bucket: losing }).sign(workspaceId, last, growth(size))).rejects.toThrow(
        'timeout',
      );
      const again = await signerOf({ now: () => 'later' }).sign(workspaceId, last, growth(size));
      expect(again.record.signed_at).toBe('2026-03-15T12:00:01.000000Z');
      expect(again.revision).toBe((await bucket.get(workspaceId))?.revision);
      last = again;
    }
  });

  it('steps back where another has signed: more, less, or another root', async () => {
    const workspaceId = newWorkspace();
    const [one, other] = [signerOf(), signerOf()];
    await one.sign(workspaceId, undefined, growth(5));
    for (const wanted of [growth(4), growth(5, 99), growth(6)]) {
      await expect(other.sign(workspaceId, undefined, wanted)).rejects.toMatchObject({ code: 'fenced' });
    }
    expect((await bucket.get(workspaceId))?.value).toMatchObject({ size: 5, root: '05'.repeat(32) });
  });

  it('lets one of many at once through', async () => {
    const workspaceId = newWorkspace();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, number) => signerOf().sign(workspaceId, undefined, growth(5, number))),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });
});
