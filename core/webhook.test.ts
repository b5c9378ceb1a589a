import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { utf8Encode } from './bytes.ts';
import {
  standardWebhookSignature,
  verifyStandardWebhook,
  verifyWebhookSignature,
  webhookSignature,
} from './webhook.ts';

const { secret, body, signature } = vectors.webhook;

describe('X-Immutable-Signature', () => {
  test('the vector, as text and as bytes', () => {
    expect(webhookSignature(secret, body)).toBe(signature);
    expect(webhookSignature(secret, utf8Encode(body))).toBe(signature);
  });

  test('is verified', () => {
    expect(verifyWebhookSignature(secret, body, signature)).toBe(true);
    for (const other of [
      '',
      'sha256=',
      signature.slice(7),
      signature.toUpperCase(),
      `${signature} `,
      `${signature.slice(0, -1)}7`,
    ]) {
      expect(verifyWebhookSignature(secret, body, other)).toBe(false);
    }
    expect(verifyWebhookSignature(`${secret}x`, body, signature)).toBe(false);
    expect(verifyWebhookSignature(secret, `${body} `, signature)).toBe(false);
  });
});

describe('Standard Webhooks', () => {
  // The example of the specification's reference libraries.
  const example = {
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    webhook: {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestampSeconds: 1614265330,
      body: '{"test": 2432232314}',
    },
    signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  };

  test('the example of the reference libraries', () => {
    expect(standardWebhookSignature([example.secret], example.webhook)).toBe(example.signature);
  });

  test('the key is what the base64 after whsec_ decodes to, else the bytes of the secret', () => {
    const sign = (key: string) => standardWebhookSignature([key], example.webhook);
    expect(sign('whsec_Zm9v')).toBe(sign('foo'));
    expect(sign('whsec_no base64!')).not.toBe(sign('no base64!'));
    expect(sign('Zm9v')).not.toBe(sign('foo'));
    expect(sign('whsec_')).not.toBe(sign(''));
  });

  test('a rotation sends two signatures, and each secret verifies', () => {
    const header = standardWebhookSignature(['old', 'new'], example.webhook);
    expect(header.split(' ')).toHaveLength(2);
    for (const key of ['old', 'new']) {
      expect(verifyStandardWebhook(key, example.webhook, header, 1614265330)).toBe(true);
    }
    expect(verifyStandardWebhook('other', example.webhook, header, 1614265330)).toBe(false);
  });

  test('verifies within five minutes', () => {
    const verify = (now: number) =>
      verifyStandardWebhook(example.secret, example.webhook, example.signature, now);
    expect([1614265330 - 300, 1614265330, 1614265330 + 300].map(verify)).toEqual([true, true, true]);
    expect([1614265330 - 301, 1614265330 + 301, Number.NaN].map(verify)).toEqual([false, false, false]);
  });

  test.each([
    ['another id', { ...example.webhook, id: 'msg_x' }],
    ['another time', { ...example.webhook, timestampSeconds: 1614265331 }],
    ['another body', { ...example.webhook, body: '{"test": 2432232315}' }],
    ['no number for a time', { ...example.webhook, timestampSeconds: Number.NaN }],
  ])('refuses %s', (_, webhook) => {
    expect(verifyStandardWebhook(example.secret, webhook, example.signature, 1614265330)).toBe(false);
  });

  test.each([
    '',
    'v1,',
    'v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    'g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  ])('refuses the header %j', (header) => {
    expect(verifyStandardWebhook(example.secret, example.webhook, header, 1614265330)).toBe(false);
  });
});
