import { expect, it } from 'vitest';
import { keysOf } from './trusted-logs.ts';

const KEY_1 = new Uint8Array(32).fill(1);
const KEY_2 = new Uint8Array(32).fill(2);
const TRUSTED = {
  logs: [
    { name: 'log.example.test', publicKey: KEY_1 },
    { name: 'audit.example.test/ws_1', publicKey: KEY_2 },
  ],
  families: [{ name: 'audit.example.test', publicKey: KEY_1 }],
};

it.each([
  ['log.example.test', [KEY_1]],
  ['audit.example.test/ws_2', [KEY_1]],
  ['audit.example.test/ws_1', [KEY_2, KEY_1]],
  ['audit.example.test', []],
  ['audit.example.test/', []],
  ['audit.example.test/a/b', []],
  ['audit.example.test/two words', []],
  ['audit.example.test/a+b', []],
  ['audit.example.testing/ws_1', []],
  ['LOG.example.test', []],
  ['', []],
])('%j', (origin, keys) => {
  expect(keysOf(TRUSTED, origin)).toEqual(keys.map((publicKey) => ({ name: origin, publicKey })));
});
