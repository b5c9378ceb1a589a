import { describe, expect, test } from 'vitest';
import {
  base64Decode,
  base64Encode,
  concatBytes,
  equalBytes,
  hexDecode,
  hexEncode,
  utf8Decode,
  utf8Encode,
  utf8EncodeAll,
  utf8Length,
} from './bytes.ts';

const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, byte) => byte);

describe('hex', () => {
  test('goes there and back', () => {
    expect(hexEncode(Uint8Array.of(0, 1, 171, 255))).toBe('0001abff');
    expect(hexDecode(hexEncode(ALL_BYTES))).toEqual(ALL_BYTES);
    expect(hexDecode('')).toEqual(new Uint8Array());
  });

  test.each(['a', 'AB', '0g', '0x', ' 0', '0:', '0`', '0/', 'é0'])('%j is none', (text) => {
    expect(hexDecode(text)).toBeNull();
  });
});

describe('base64', () => {
  test.each([
    ['', ''],
    ['f', 'Zg=='],
    ['fo', 'Zm8='],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg=='],
    ['fooba', 'Zm9vYmE='],
    ['foobar', 'Zm9vYmFy'],
  ])('the vectors of RFC 4648: %j', (plain, encoded) => {
    expect(base64Encode(utf8Encode(plain))).toBe(encoded);
    expect(base64Decode(encoded)).toEqual(utf8Encode(plain));
  });

  test('goes there and back at every length', () => {
    for (let length = 0; length <= 256; length += 1) {
      const data = ALL_BYTES.subarray(256 - length);
      expect(base64Decode(base64Encode(data))).toEqual(Uint8Array.from(data));
    }
  });

  test.each([
    'Z',
    'Zg',
    'Zg=',
    'Zh==',
    'Zm9=',
    'Zm9v====',
    'Z===',
    '====',
    'Zg==Zg==',
    'Zm9v\n',
    'Z m9',
    'Zm-_',
  ])('%j is none, or not the one spelling', (text) => {
    expect(base64Decode(text)).toBeNull();
  });
});

describe('UTF-8', () => {
  test('lengths are those of the encoding', () => {
    for (const text of ['', 'abc', 'é', '€', '😀', 'a\u0000é€😀\uffff']) {
      expect(utf8Length(text)).toBe(utf8Encode(text).length);
    }
  });

  test('many texts are encoded as their concatenation', () => {
    for (const texts of [
      [],
      [''],
      ['a', '', 'é'],
      Array.from({ length: 50 }, () => '€'.repeat(40)),
      ['😀'.repeat(500)],
    ]) {
      expect(utf8EncodeAll(texts)).toEqual(utf8Encode(texts.join('')));
    }
  });

  test('decoding keeps a byte order mark and refuses what is not UTF-8', () => {
    expect(utf8Decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\ufeffa');
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
      expect(utf8Decode(Uint8Array.from(bytes))).toBeNull();
    }
  });
});

test('concatBytes and equalBytes', () => {
  expect(concatBytes()).toEqual(new Uint8Array());
  expect(concatBytes(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3))).toEqual(
    Uint8Array.of(1, 2, 3),
  );
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0))).toBe(false);
});
