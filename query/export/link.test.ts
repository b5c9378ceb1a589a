import { expect, test } from 'vitest';
import { isSignatureOf, signLink } from './link.ts';

const KEY = new Uint8Array(32).fill(3);
const ID = 'exp_0000000000000001';
const EXPIRES = '2026-03-22T12:00:00.000000Z';

test('a signature opens one object of one export until one moment, under one key', () => {
  const signature = signLink('download', ID, EXPIRES, KEY);
  expect(signature).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(isSignatureOf(signature, 'download', ID, EXPIRES, KEY)).toBe(true);
  expect(isSignatureOf(signature, 'manifest', ID, EXPIRES, KEY)).toBe(false);
  expect(isSignatureOf(signature, 'download', 'exp_0000000000000002', EXPIRES, KEY)).toBe(false);
  expect(isSignatureOf(signature, 'download', ID, '2026-03-22T12:00:00.000001Z', KEY)).toBe(false);
  expect(isSignatureOf(signature, 'download', ID, EXPIRES, new Uint8Array(32).fill(4))).toBe(false);
});

test('it has one spelling', () => {
  const signature = signLink('download', ID, EXPIRES, KEY);
  const spareBits = signature.slice(0, -1) + String.fromCharCode(signature.charCodeAt(42) + 1);
  for (const other of ['', `${signature}=`, ` ${signature}`, signature.slice(1), spareBits]) {
    expect(isSignatureOf(other, 'download', ID, EXPIRES, KEY), other).toBe(false);
  }
});
