import { describe, expect, test } from 'vitest';
import { type CursorBinding, decodeCursor, encodeCursor } from './cursor.ts';

const KEY = new Uint8Array(32).fill(7);
const BINDING: CursorBinding = { workspaceId: 'ws_0000000000000001', search: '["desc"]' };
const AT = Date.UTC(2026, 2, 15, 14, 32, 18) * 1000 + 847_312;

describe('a cursor', () => {
  test('comes back as the time it was made of', () => {
    expect(decodeCursor(encodeCursor(AT, BINDING, KEY), BINDING, KEY)).toBe(AT);
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

  test('is refused when any one character of it was changed', () => {
    const cursor = encodeCursor(AT, BINDING, KEY);
    for (let at = 0; at < cursor.length; at += 1) {
      const other = cursor[at] === 'A' ? 'B' : 'A';
      const altered = cursor.slice(0, at) + other + cursor.slice(at + 1);
      expect(() => decodeCursor(altered, BINDING, KEY), altered).toThrow('altered');
    }
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
