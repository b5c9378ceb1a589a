import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseDestination } from '../../infra/outbound/destination.ts';
import { outboundPolicy, reachOf } from '../../infra/outbound/policy.ts';

const POLICY = outboundPolicy([]);

/** An IPv4 address as a number, near the edges of ranges more often than not. */
const address = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  fc
    .record({
      first: fc.constantFrom(0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 240, 255),
      second: fc.constantFrom(0, 15, 16, 31, 32, 63, 64, 88, 127, 128, 168, 254, 255),
      rest: fc.constantFrom(0, 1, 0x0200, 0x6301, 0xa9fe, 0xffff),
    })
    .map(({ first, second, rest }) => first * 2 ** 24 + second * 2 ** 16 + rest),
);

function bytesOf(number: number): [number, number, number, number] {
  return [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
}

const hex = (number: number) => number.toString(16);

/** All ways to write it that the URL standard knows. */
function spellings(number: number): string[] {
  const [a, b, c, d] = bytesOf(number);
  const bases = [
    (part: number) => `${part}`,
    (part: number) => `0x${hex(part)}`,
    (part: number) => `0${part.toString(8)}`,
  ];
  return bases.flatMap((spell) => [
    [a, b, c, d].map(spell).join('.'),
    [a, b, c * 256 + d].map(spell).join('.'),
    [a, number & 0xff_ff_ff].map(spell).join('.'),
    spell(number),
  ]);
}

/** All ways in which IPv6 carries it. */
function carriers(number: number): string[] {
  const [high, low] = [hex(number >>> 16), hex(number & 0xffff)];
  const inverted = `${hex((number >>> 16) ^ 0xffff)}:${hex((number & 0xffff) ^ 0xffff)}`;
  return [
    `::${high}:${low}`,
    `::ffff:${high}:${low}`,
    `::ffff:0:${high}:${low}`,
    `64:ff9b::${high}:${low}`,
    `64:ff9b:1::${high}:${low}`,
    `2002:${high}:${low}::1`,
    `2001:0:${high}:${low}::1`,
    `2001:0:4136:e378:8000:63bf:${inverted}`,
    `fe80::5efe:${high}:${low}`,
  ];
}

test('however an address is spelt, it is the same; and carried by IPv6 it is never reached', () => {
  fc.assert(
    fc.property(address, (number) => {
      const isPublic = reachOf(bytesOf(number).join('.'), POLICY) === 'public';
      for (const host of spellings(number)) {
        expect([host, parseDestination(`https://${host}/`, POLICY).ok]).toEqual([host, isPublic]);
      }
      for (const host of carriers(number)) {
        expect([host, parseDestination(`https://[${host}]/`, POLICY).ok]).toEqual([host, false]);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('an operator that allows all allows nothing beside addresses', () => {
  const all = outboundPolicy(['0.0.0.0/0', '::/0']);
  const schemes = fc.constantFrom('file:', 'ftp:', 'gopher:', 'data:', 'javascript:', 'ws:', 'blob:https:');
  fc.assert(
    fc.property(schemes, fc.string(), (scheme, rest) => {
      expect(parseDestination(`${scheme}//${rest}`, all).ok).toBe(false);
    }),
  );
});

test('whatever text is given, it is refused with a reason, or is a URL', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.webUrl().map((url) => url.replace(/^http:/, 'https:')),
      ),
      (text) => {
        const parsed = parseDestination(text, POLICY);
        if (parsed.ok) expect(parsed.destination.url.protocol).toBe('https:');
        else expect(parsed.refusal).toMatch(/^(must|leads) /);
      },
    ),
    { numRuns: 1_000 },
  );
});
