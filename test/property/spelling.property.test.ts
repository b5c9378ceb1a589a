import { isIP } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  base64Decode,
  base64Encode,
  hexDecode,
  hexEncode,
  utf8EncodeAll,
  utf8Length,
} from '../../core/bytes.ts';
import { portableHasher } from '../../core/hash.ts';
import { isIpAddress } from '../../core/ip.ts';
import { formatTimestamp, isCanonicalTimestamp, parseTimestamp } from '../../core/time.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { propertyRuns } from '../support/property-runs.ts';
import { text } from './arbitraries.ts';

const micros = fc.integer({ min: 0, max: 8_993_721_599_999_999 });

test('times go there and back, from every offset', () => {
  fc.assert(
    fc.property(micros, fc.integer({ min: -1439, max: 1439 }), (instant, offsetMinutes) => {
      const utc = formatTimestamp(instant);
      expect(parseTimestamp(utc)).toBe(instant);
      expect(isCanonicalTimestamp(utc)).toBe(true);
      expect(Date.parse(utc)).toBe(Math.floor(instant / 1000));
      fc.pre(instant + offsetMinutes * 60_000_000 >= 0 && instant < 8.9e15);
      const local = formatTimestamp(instant + offsetMinutes * 60_000_000).slice(0, -1);
      const [hours, minutes] = [Math.floor(Math.abs(offsetMinutes) / 60), Math.abs(offsetMinutes) % 60];
      const offset = [hours, minutes].map((part) => String(part).padStart(2, '0')).join(':');
      expect(parseTimestamp(`${local}${offsetMinutes < 0 ? '-' : '+'}${offset}`)).toBe(instant);
    }),
    propertyRuns(1000),
  );
});

test('days that the calendar does not have are refused, all others read as Date reads them', () => {
  const day = fc.tuple(fc.integer({ min: 1970, max: 2254 }), fc.nat(13), fc.nat(32));
  fc.assert(
    fc.property(day, ([year, month, date]) => {
      const written = `${year}-${String(month).padStart(2, '0')}-${String(date).padStart(2, '0')}T00:00:00Z`;
      const read = new Date(Date.UTC(year, month - 1, date));
      const exists =
        read.getUTCFullYear() === year && read.getUTCMonth() === month - 1 && read.getUTCDate() === date;
      expect(parseTimestamp(written)).toBe(exists ? read.getTime() * 1000 : null);
    }),
    propertyRuns(1000),
  );
});

test('addresses are those that the operating system reads, without zones', () => {
  const soup = fc.string({ unit: fc.constantFrom(...'0125:::..afF%g '), maxLength: 24 });
  const mixed = fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), soup, fc.nat()).map(([address, noise, at]) => {
    const index = at % (address.length + 1);
    return address.slice(0, index) + noise.slice(0, 2) + address.slice(index);
  });
  fc.assert(
    fc.property(fc.oneof(soup, mixed, fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), (address) => {
      expect(isIpAddress(address)).toBe(isIP(address) !== 0 && !address.includes('%'));
    }),
    propertyRuns(2000),
  );
});

test('hex and base64 are those of Node', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (data) => {
      expect(hexEncode(data)).toBe(Buffer.from(data).toString('hex'));
      expect(hexDecode(hexEncode(data))).toEqual(data);
      expect(base64Encode(data)).toBe(Buffer.from(data).toString('base64'));
      expect(base64Decode(base64Encode(data))).toEqual(data);
    }),
  );
});

test('base64 has one spelling', () => {
  const soup = fc.string({ unit: fc.constantFrom(...'AQgZz09+/=-_\n '), maxLength: 12 });
  fc.assert(
    fc.property(soup, (encoded) => {
      const data = base64Decode(encoded);
      if (data !== null) expect(base64Encode(data)).toBe(encoded);
      else expect(Buffer.from(encoded, 'base64').toString('base64')).not.toBe(encoded);
    }),
    propertyRuns(1000),
  );
});

test('UTF-8 is that of Node', () => {
  fc.assert(
    fc.property(fc.array(text(0, 60), { maxLength: 8 }), (texts) => {
      const whole = texts.join('');
      expect(utf8Length(whole)).toBe(Buffer.byteLength(whole));
      expect(Buffer.from(utf8EncodeAll(texts)).equals(Buffer.from(whole))).toBe(true);
    }),
    propertyRuns(500),
  );
});

test('both hashers give the same hashes', () => {
  fc.assert(
    fc.property(text(0, 200), fc.uint8Array({ maxLength: 300 }), (message, data) => {
      expect(nativeHasher.hex(message)).toBe(portableHasher.hex(message));
      expect(Uint8Array.from(nativeHasher.bytes(data))).toEqual(portableHasher.bytes(data));
    }),
  );
});
