import { describe, expect, it } from 'vitest';
import { addressText, plainAddress } from './listen.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);

describe('the address of a peer', () => {
  it.each([
    [bytes(203, 0, 113, 9), '203.0.113.9'],
    [bytes(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9), '203.0.113.9'],
    [bytes(0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), '2001:db8::1'],
    [bytes(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), '::1'],
    [bytes(), ''],
  ])('%s is read as %s', (raw, text) => {
    expect(addressText(raw)).toBe(text);
  });

  it.each([
    ['203.0.113.9', '203.0.113.9'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['2001:0DB8::0001', '2001:db8::1'],
    ['', ''],
    ['somewhere', ''],
  ])('"%s" is read as "%s"', (given, text) => {
    expect(plainAddress(given)).toBe(text);
  });
});
