import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseVerifierKey } from '../core/checkpoint.ts';
import { createLogger } from '../infra/log.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { ensureStreams } from '../infra/nats/streams.ts';
import { createSealer } from '../infra/seal.ts';
import { startTestNats, type TestNats } from '../test/support/nats.ts';
import {
  ensureSigningKeys,
  openSigningSeeds,
  publishedKeys,
  readSigningKeys,
  rotateSigningKey,
  SIGNING_KEY_PURPOSE,
  type SigningKeys,
  type StoredSigningKey,
  watchSigningKeys,
} from './signing-keys.ts';

const DAY_MS = 24 * 3600 * 1000;
const NOW = Date.UTC(2026, 2, 15, 12);
const sealer = createSealer('11'.repeat(32), SIGNING_KEY_PURPOSE);
const otherSealer = createSealer('22'.repeat(32), SIGNING_KEY_PURPOSE);

let nats: TestNats;
let nc: NatsConnection;
let bucket: Bucket;

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: 'test', log: createLogger('test', 'silent') });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
  bucket = await openBucket(nc, BUCKETS.signing);
});
beforeEach(async () => {
  for (const key of await bucket.keys()) await bucket.delete(key);
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
});

const publicKeys = ({ keys }: SigningKeys) => keys.map(({ public_key }) => public_key);

async function stored(): Promise<SigningKeys> {
  const [key = ''] = await bucket.keys();
  return readSigningKeys((await bucket.get(key))?.value);
}

describe('the signing keys', () => {
  it('are made once, by one of several that start at once', async () => {
    const made = await Promise.all(
      Array.from({ length: 8 }, () => ensureSigningKeys(bucket, sealer, () => NOW)),
    );
    expect(new Set(made.map((keys) => publicKeys(keys).join())).size).toBe(1);
    expect(await ensureSigningKeys(bucket, sealer, () => NOW + DAY_MS)).toEqual(made[0]);
    expect(await stored()).toEqual(made[0]);
  });

  it('are kept sealed', async () => {
    const keys = await ensureSigningKeys(bucket, sealer);
    const [seed = new Uint8Array()] = openSigningSeeds(keys, sealer, Date.now());
    expect(seed).toHaveLength(32);
    const text = JSON.stringify(await stored());
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(text).not.toContain(Buffer.from(seed).toString(encoding).slice(0, 20));
    }
  });

  it('cannot be opened with another secret key', async () => {
    const keys = await ensureSigningKeys(bucket, sealer);
    expect(() => openSigningSeeds(keys, otherSealer, Date.now())).toThrow(
      expect.objectContaining({ code: 'misconfigured' }),
    );
  });

  it('cannot be moved from one record into another', async () => {
    await ensureSigningKeys(bucket, sealer, () => NOW);
    const { keys } = await rotateSigningKey(bucket, sealer, 7, () => NOW);
    const [newest, before] = keys as [StoredSigningKey, StoredSigningKey];
    const moved: SigningKeys = { keys: [{ ...newest, sealed_seed: before.sealed_seed }, before] };
    expect(() => openSigningSeeds(moved, sealer, NOW)).toThrow(
      expect.objectContaining({ code: 'misconfigured' }),
    );
  });

  it('sign two at a time for as long as the overlap lasts, the newest first', async () => {
    const first = await ensureSigningKeys(bucket, sealer, () => NOW);
    const [firstSeed] = openSigningSeeds(first, sealer, NOW);
    const rotated = await rotateSigningKey(bucket, sealer, 30, () => NOW);
    expect(publicKeys(rotated)[1]).toBe(publicKeys(first)[0]);
    const during = openSigningSeeds(rotated, sealer, NOW + 30 * DAY_MS - 1);
    expect(during).toHaveLength(2);
    expect(during[1]).toEqual(firstSeed);
    const after = openSigningSeeds(rotated, sealer, NOW + 30 * DAY_MS);
    expect(after).toEqual([during[0]]);
    expect(await stored()).toEqual(rotated);
  });

  it('end at once without an overlap, and never later than an earlier rotation said', async () => {
    await ensureSigningKeys(bucket, sealer, () => NOW);
    await rotateSigningKey(bucket, sealer, 1, () => NOW);
    const keys = await rotateSigningKey(bucket, sealer, 0, () => NOW + 3600_000);
    expect(keys.keys.map(({ signs_until }) => signs_until)).toEqual([
      null,
      '2026-03-15T13:00:00.000000Z',
      '2026-03-16T12:00:00.000000Z',
    ]);
    expect(openSigningSeeds(keys, sealer, NOW + 3600_000)).toHaveLength(2);
  });

  it('stay published for ever, as verifier keys of each log', async () => {
    await ensureSigningKeys(bucket, sealer, () => NOW);
    await rotateSigningKey(bucket, sealer, 0, () => NOW);
    const keys = await rotateSigningKey(bucket, sealer, 0, () => NOW + DAY_MS);
    const published = publishedKeys(keys, 'log.example/ws_1');
    expect(published.map(({ public_key }) => public_key)).toEqual(publicKeys(keys));
    for (const { verifier_key = '', public_key } of published) {
      const parsed = parseVerifierKey(verifier_key);
      expect(parsed?.name).toBe('log.example/ws_1');
      expect(Buffer.from(parsed?.publicKey ?? []).toString('base64')).toBe(public_key);
    }
    expect(JSON.stringify(published)).not.toContain('sealed');
    expect(publishedKeys(keys).some((key) => 'verifier_key' in key)).toBe(false);
  });

  it('are rotated by one of two at once', async () => {
    await ensureSigningKeys(bucket, sealer);
    const outcomes = await Promise.allSettled([1, 2].map(() => rotateSigningKey(bucket, sealer, 1)));
    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect((await stored()).keys).toHaveLength(1 + outcomes.length - failed.length);
    for (const reason of failed) expect(reason).toMatchObject({ code: 'conflict' });
  });

  it('are not rotated by who has another secret key, since nobody could sign any more', async () => {
    const keys = await ensureSigningKeys(bucket, sealer);
    await expect(rotateSigningKey(bucket, otherSealer, 1)).rejects.toMatchObject({ code: 'misconfigured' });
    expect(await stored()).toEqual(keys);
  });

  it('are not rotated before there are any, nor for an overlap that is none', async () => {
    await expect(rotateSigningKey(bucket, sealer, 1)).rejects.toMatchObject({ code: 'not_found' });
    await ensureSigningKeys(bucket, sealer);
    for (const days of [-1, 1.5, Number.NaN, 4_000]) {
      await expect(rotateSigningKey(bucket, sealer, days)).rejects.toMatchObject({
        code: 'validation_failed',
      });
    }
  });

  it('are watched', async () => {
    const watch = await watchSigningKeys(bucket);
    expect(watch.current()).toBeUndefined();
    const keys = await ensureSigningKeys(bucket, sealer);
    await expect.poll(() => watch.current()).toEqual(keys);
    const rotated = await rotateSigningKey(bucket, sealer, 1);
    await expect.poll(() => watch.current()).toEqual(rotated);
    await watch.stop();
  });
});
