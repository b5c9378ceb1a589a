import { describe, expect, test } from 'vitest';
import { ImmutableError } from '../core/errors.ts';
import { type CursorBinding, decodeCursor, decodePlace, encodeCursor, type Total } from './cursor.ts';

const KEY = new Uint8Array(32).fill(7);
const BINDING: CursorBinding = { workspaceId: 'ws_0000000000000001', search: '["desc"]' };
const AT = Date.UTC(2026, 2, 15, 14, 32, 18) * 1000 + 847_312;
const TOTAL: Total = { count: 1234, isEstimate: false };

describe('a cursor', () => {
  test('comes back as the place it was made of, with its total if it has one', () => {
    expect(decodeCursor(encodeCursor(AT, BINDING, KEY), BINDING, KEY)).toBe(AT);
    expect(decodePlace(encodeCursor(AT, BINDING, KEY), BINDING, KEY)).toEqual({
      after: AT,
      total: undefined,
    });
    const carrying = encodeCursor(AT, BINDING, KEY, TOTAL);
    expect(decodePlace(carrying, BINDING, KEY)).toEqual({ after: AT, total: TOTAL });
    const estimate = { ...TOTAL, isEstimate: true };
    expect(decodePlace(encodeCursor(AT, BINDING, KEY, estimate), BINDING, KEY).total).toEqual(estimate);
  });

  test('is URL-safe base64 without padding of JSON with created_at', () => {
    const cursor = encodeCursor(AT, BINDING, KEY);
    expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(JSON.parse(Buffer.from(cursor, 'base64url').toString())).toMatchObject({
      created_at: '2026-03-15T14:32:18.847312Z',
    });
  });

  test('opens nothing but its own search, in its own workspace, under its own key', () => {
    const cursor = encodeCursor(AT, BINDING, KEY);
    const refusal = { code: 'bad_request' };
    const expectRefused = (binding: CursorBinding, key: Uint8Array) =>
      expect(() => decodeCursor(cursor, binding, key)).toThrow(expect.objectContaining(refusal));
    expectRefused({ ...BINDING, workspaceId: 'ws_0000000000000002' }, KEY);
    expectRefused({ ...BINDING, search: '["asc"]' }, KEY);
    expectRefused(BINDING, new Uint8Array(32).fill(8));
  });

  const isRefused = (altered: string) => {
    try {
      decodeCursor(altered, BINDING, KEY);
      return false;
    } catch (error) {
      return error instanceof ImmutableError && error.code === 'bad_request';
    }
  };

  test('is refused when any one character of it was changed, into any other', () => {
    const cursor = encodeCursor(AT, BINDING, KEY, TOTAL);
    const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. ';
    for (let at = 0; at < cursor.length; at += 1) {
      for (const other of characters) {
        const altered = cursor.slice(0, at) + other + cursor.slice(at + 1);
        expect(altered === cursor || isRefused(altered), altered).toBe(true);
      }
    }
  });

  test('is refused when any one byte of its JSON was changed, or it was written otherwise', () => {
    const json = Buffer.from(encodeCursor(AT, BINDING, KEY, TOTAL), 'base64url');
    for (let at = 0; at < json.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const altered = Buffer.from(json);
        altered[at] = altered[at]! ^ (1 << bit);
        expect(isRefused(altered.toString('base64url')), altered.toString()).toBe(true);
      }
    }
    const spaced = Buffer.from(json.toString().replace(',', ', ')).toString('base64url');
    expect(isRefused(spaced)).toBe(true);
  });

  test.each([
    '',
    'x',
    'bnVsbA',
    'e30',
    Buffer.from('{"created_at":5,"check":"x"}').toString('base64url'),
    Buffer.from('{"created_at":"yesterday","check":""}').toString('base64url'),
    `${encodeCursor(AT, BINDING, KEY)}=`,
  ])('is refused as %j', (text) => {
    expect(() => decodeCursor(text, BINDING, KEY)).toThrow(expect.objectContaining({ code: 'bad_request' }));
  });
});
