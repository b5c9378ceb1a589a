import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger } from '../infra/log.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { ensureStreams } from '../infra/nats/streams.ts';
import { outboundPolicy } from '../infra/outbound/policy.ts';
import { createSealer } from '../infra/seal.ts';
import { startTestNats, type TestNats } from '../test/support/nats.ts';
import { moveAlertPosition, readAlertPosition } from './alert-positions.ts';
import {
  ALERT_SECRET_PURPOSE,
  type AlertRuleContext,
  changeAlertRule,
  createAlertRule,
  deleteAlertRule,
  getAlertRule,
  listAlertRules,
  muteAlertRule,
  openWebhookSecret,
  watchAlertRules,
} from './alert-rules.ts';

const A = { id: 'ws_00000000000000a1', plan: 'enterprise' } as const;
const B = { id: 'ws_00000000000000b2', plan: 'free' } as const;
const RULE = { name: 'Abroad', rule_type: 'new_country' };
const HOOK = { channels: ['webhook'], webhook_url: 'https://hooks.example.com/' };

let server: TestNats;
let nc: NatsConnection;
let bucket: Bucket;
let context: AlertRuleContext;
let nowMs = Date.UTC(2026, 2, 15);

beforeAll(async () => {
  server = await startTestNats();
  nc = await connectNats({ url: server.url, name: 'test', log: createLogger('test', 'silent') });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
  bucket = await openBucket(nc, BUCKETS.alertRules);
  context = {
    bucket,
    sealer: createSealer('22'.repeat(32), ALERT_SECRET_PURPOSE),
    limits: { outbound: outboundPolicy([]), hasDefaultWebhook: false },
    now: () => {
      nowMs += 1_000;
      return nowMs;
    },
  };
});
beforeEach(async () => {
  for (const key of await bucket.keys()) await bucket.delete(key);
});
afterAll(async () => {
  await nc?.close();
  await server?.stop();
});

describe('alert rules', () => {
  it('are made, changed and removed', async () => {
    const { rule, madeSecret } = await createAlertRule(context, A, RULE);
    expect(rule.id).toMatch(/^rul_[0-9a-f]{16}$/);
    expect(madeSecret).toBeUndefined();
    expect(await getAlertRule(bucket, A.id, rule.id)).toEqual(rule);
    expect(await getAlertRule(bucket, B.id, rule.id)).toBeUndefined();

    const { rule: renamed } = await changeAlertRule(context, A.id, rule.id, { name: 'Elsewhere' });
    expect(renamed).toEqual({ ...rule, name: 'Elsewhere', updated_at: renamed.updated_at });
    expect(renamed.updated_at > rule.updated_at).toBe(true);

    await deleteAlertRule(bucket, A.id, rule.id);
    for (const gone of [
      changeAlertRule(context, A.id, rule.id, {}),
      muteAlertRule(context, A.id, rule.id, null),
      deleteAlertRule(bucket, A.id, rule.id),
    ]) {
      await expect(gone).rejects.toMatchObject({ code: 'not_found' });
    }
  });

  it('look at what comes later only, once they mean something else', async () => {
    const { rule } = await createAlertRule(context, A, RULE);
    const change = async (body: object) => (await changeAlertRule(context, A.id, rule.id, body)).rule;
    expect((await change({ severity: 'high', conditions: { learning_events: 1 } })).effective_from).toBe(
      rule.effective_from,
    );
    const taught = await change({ conditions: { learning_events: 2 } });
    expect(taught.effective_from).toBe(taught.updated_at);
    expect((await change({ enabled: false })).effective_from).toBe(taught.effective_from);
    const enabled = await change({ enabled: true });
    expect(enabled.effective_from).toBe(enabled.updated_at);
    const destructive = await change({ rule_type: 'high_volume_destructive' });
    expect(destructive.conditions).toMatchObject({ threshold: 20 });
    await expect(change({ rule_type: 'repeated_action' })).rejects.toMatchObject({
      violations: [{ path: 'conditions.action_pattern' }],
    });
  });

  it('keep their secret sealed, and tell one that was made here', async () => {
    const { rule, madeSecret } = await createAlertRule(context, A, { ...RULE, ...HOOK });
    expect(madeSecret).toMatch(/^whsec_/);
    expect(openWebhookSecret(rule, context.sealer)).toBe(madeSecret);
    const given = { webhook_secret: 'a secret of theirs' };
    const changed = await changeAlertRule(context, A.id, rule.id, given);
    expect(changed.madeSecret).toBeUndefined();
    expect(openWebhookSecret(changed.rule, context.sealer)).toBe('a secret of theirs');
    expect(JSON.stringify(await bucket.get(`${A.id}.${rule.id}`))).not.toContain('a secret of theirs');
    const kept = await changeAlertRule(context, A.id, rule.id, { name: 'x' });
    expect(kept.rule.webhook_secret).toBe(changed.rule.webhook_secret);
    expect(() => openWebhookSecret({ ...changed.rule, workspace_id: B.id }, context.sealer)).toThrow();
  });

  it('are as many as the plan allows, however many are made at once', async () => {
    const made = await Promise.allSettled(Array.from({ length: 6 }, () => createAlertRule(context, B, RULE)));
    const refused = made.filter((outcome) => outcome.status === 'rejected');
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'quota_exceeded' });
    const left = await listAlertRules(bucket, B.id);
    expect(left.length).toBe(6 - refused.length);
    expect(left.length).toBeLessThanOrEqual(2);
    await createAlertRule(context, A, RULE);
  });

  it('lose no change that two make at once', async () => {
    const { rule } = await createAlertRule(context, A, RULE);
    await Promise.all([
      changeAlertRule(context, A.id, rule.id, { name: 'Both' }),
      changeAlertRule(context, A.id, rule.id, { severity: 'low' }),
      muteAlertRule(context, A.id, rule.id, Date.UTC(2030, 0)),
    ]);
    expect(await getAlertRule(bucket, A.id, rule.id)).toMatchObject({
      name: 'Both',
      severity: 'low',
      muted_until: '2030-01-01T00:00:00.000000Z',
    });
  });

  it('are known elsewhere at once, by workspace, all but one that cannot be read', async () => {
    const { rule } = await createAlertRule(context, A, RULE);
    const unreadable: string[] = [];
    const directory = await watchAlertRules(bucket, (key) => unreadable.push(key));
    expect(directory.rulesOf(A.id)).toEqual([rule]);
    const before = directory.rulesOf(A.id);
    const { rule: other } = await createAlertRule(context, B, RULE);
    await vi.waitFor(() => expect(directory.rulesOf(B.id)).toEqual([other]));
    expect(directory.rulesOf(A.id)).toBe(before);
    await bucket.put(`${A.id}.rul_0000000000000000`, { ...rule, conditions: { threshold: 1 } });
    await bucket.put(`${A.id}.rul_0000000000000001`, rule);
    await bucket.put('odd', 1);
    await deleteAlertRule(bucket, B.id, other.id);
    await vi.waitFor(() => expect(directory.workspaceIds()).toEqual([A.id]));
    expect(directory.rulesOf(A.id)).toEqual([rule]);
    expect(unreadable).toEqual([`${A.id}.rul_0000000000000000`, `${A.id}.rul_0000000000000001`, 'odd']);
    await directory.stop();
  });
});

describe('the position of a partition', () => {
  const at = (sequence: number) => ({ epoch: '0123456789abcdef', sequence, index: 3, behind: { [A.id]: 7 } });

  it('moves on, by one process alone', async () => {
    const positions = await openBucket(nc, BUCKETS.alertPositions);
    expect(await readAlertPosition(positions, 1)).toBeUndefined();
    const first = await moveAlertPosition(positions, 1, at(4), undefined);
    expect(await readAlertPosition(positions, 1)).toEqual(first);
    const second = await moveAlertPosition(positions, 1, at(5), first);
    for (const before of [undefined, first]) {
      await expect(moveAlertPosition(positions, 1, at(6), before)).rejects.toMatchObject({ code: 'fenced' });
    }
    await expect(moveAlertPosition(positions, 1, at(4), second)).rejects.toMatchObject({ code: 'internal' });
    expect(await readAlertPosition(positions, 1)).toEqual(second);
    await positions.put('1', { sequence: 1 });
    await expect(readAlertPosition(positions, 1)).rejects.toMatchObject({ code: 'misconfigured' });
  });
});
