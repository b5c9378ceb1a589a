import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readJson } from './body.ts';

const read = async (body: Buffer | string, contentType?: string, contentEncoding?: string) =>
  await readJson({ body: Buffer.from(body), contentType, contentEncoding });

describe('a body', () => {
  it.each([
    undefined,
    '',
    'application/json',
    'Application/JSON; charset=UTF-8',
    'application/json;charset="utf-8"',
    'application/vnd.example+json',
    'application/x-www-form-urlencoded',
    'text/plain; charset=us-ascii',
  ])('is JSON when it says it is "%s"', async (contentType) => {
    expect(await read('{"a":1}', contentType)).toEqual({ a: 1 });
  });

  it.each([
    'application/xml',
    'multipart/form-data; boundary=x',
    'application/json; charset=utf-16',
    'nonsense',
  ])('is refused when it says it is "%s"', async (contentType) => {
    await expect(read('{"a":1}', contentType)).rejects.toMatchObject({ code: 'bad_request' });
  });

  it('may begin with a byte order mark', async () => {
    expect(await read('\ufeff{"a":1}')).toEqual({ a: 1 });
    await expect(read('\ufeff\ufeff{"a":1}')).rejects.toMatchObject({ code: 'bad_request' });
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['a lone byte of a character', Buffer.from('{"a":"\xff"}', 'latin1')],
    ['an overlong character', Buffer.from('"\xc0\xaf"', 'latin1')],
    ['an encoded surrogate', Buffer.from('"\xed\xa0\x80"', 'latin1')],
    ['an unfinished object', '{"a":1'],
    ['a trailing comma', '{"a":1,}'],
    ['two values', '{}{}'],
    ['a word', 'NaN'],
    ['a raw control character', '"\n"'],
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le')],
  ])('is refused when it is %s', async (_, body) => {
    const reason: unknown = await read(Buffer.from(body)).catch((error: unknown) => error);
    expect(reason).toMatchObject({ code: 'bad_request' });
    expect(String(reason)).not.toContain('{"a"');
  });

  it('may be nested as deep as it is long', async () => {
    const depth = 1_000_000;
    const parsed = await read('['.repeat(depth) + ']'.repeat(depth)).catch((error: unknown) => error);
    expect(Array.isArray(parsed) || parsed instanceof Error).toBe(true);
  });
});

describe('a compressed body', () => {
  it('is inflated', async () => {
    expect(await read(gzipSync('{"a":1}'), undefined, 'gzip')).toEqual({ a: 1 });
    expect(await read('{"a":1}', undefined, 'identity')).toEqual({ a: 1 });
  });

  it('is refused when it is broken, or compressed in another way', async () => {
    const whole = gzipSync('{"a":1}');
    for (const body of [Buffer.from('{"a":1}'), whole.subarray(0, 12), Buffer.alloc(0)]) {
      await expect(read(body, undefined, 'gzip')).rejects.toMatchObject({ code: 'bad_request' });
    }
    await expect(read(whole, undefined, 'br')).rejects.toMatchObject({ code: 'bad_request' });
    await expect(read(gzipSync(whole), undefined, 'gzip, gzip')).rejects.toMatchObject({
      code: 'bad_request',
    });
  });

  it('is not inflated beyond what a request may have', async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, '['));
    expect(bomb.length).toBeLessThan(300_000);
    await expect(read(bomb, undefined, 'gzip')).rejects.toMatchObject({ code: 'payload_too_large' });
  });
});
