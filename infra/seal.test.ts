import { describe, expect, it } from 'vitest';
import { createSealer } from './seal.ts';

const KEY = '11'.repeat(32);
const SECRET = Buffer.from('a private key of 32 random bytes');

describe('a sealed secret', () => {
  const sealer = createSealer(KEY, 'test');

  it('opens under the same key, purpose and context', () => {
    const sealed = sealer.seal(SECRET, 'log key');
    expect(Buffer.from(createSealer(KEY, 'test').open(sealed, 'log key'))).toEqual(SECRET);
    expect(sealed).not.toContain(SECRET.toString('base64url').slice(0, 8));
    expect(sealer.seal(SECRET, 'log key')).not.toBe(sealed);
  });

  it.each([
    ['another key', () => createSealer('22'.repeat(32), 'test'), 'log key'],
    ['another purpose', () => createSealer(KEY, 'something else'), 'log key'],
    ['another context', () => sealer, 'stream secret'],
  ])('does not open under %s', (_, other, context) => {
    const sealed = sealer.seal(SECRET, 'log key');
    expect(() => other().open(sealed, context)).toThrow(`A stored secret (${context}) cannot be decrypted.`);
  });

  it('does not open when any of it was changed', () => {
    const sealed = sealer.seal(SECRET, 'c');
    const bytes = Buffer.from(sealed.slice(3), 'base64url');
    for (let index = 0; index < bytes.length; index += 1) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(() => sealer.open(`v1.${changed.toString('base64url')}`, 'c')).toThrow('cannot be decrypted');
    }
    for (const text of ['', 'v1.', 'v2.abcd', sealed.slice(3), `${sealed.slice(0, 30)}`]) {
      expect(() => sealer.open(text, 'c')).toThrow('cannot be decrypted');
    }
  });
});
