import { describe, expect, it } from 'vitest';
import { clientAddressBehind } from './client-address.ts';

describe('without trusted proxies', () => {
  it('is the peer, whatever a header says', () => {
    expect(clientAddressBehind([])('198.51.100.1', '203.0.113.9')).toBe('198.51.100.1');
  });
});

describe('behind trusted proxies', () => {
  const clientAddress = clientAddressBehind(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32']);

  it.each([
    ['nobody spoke', '10.0.0.1', undefined, '10.0.0.1'],
    ['one proxy', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['two proxies', '10.0.0.1', '203.0.113.9, 10.9.9.9', '203.0.113.9'],
    ['a client that wrote a header of its own', '10.0.0.1', '1.1.1.1, 203.0.113.9, 192.0.2.7', '203.0.113.9'],
    ['a stranger that wrote a header', '203.0.113.9', '1.1.1.1', '203.0.113.9'],
    ['proxies only', '10.0.0.1', '10.0.0.2, 10.0.0.3', '10.0.0.2'],
    ['IPv6', '2001:db8::1', '2001:DB9:0:0::5', '2001:db9::5'],
    ['an IPv4-mapped peer', '::ffff:10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['an IPv4-mapped client', '10.0.0.1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['ports', '10.0.0.1', '203.0.113.9:5123, 10.0.0.2:80', '203.0.113.9'],
    ['an IPv6 port', '10.0.0.1', '[2001:db9::5]:443', '2001:db9::5'],
    ['a word in place of an address', '10.0.0.1', '203.0.113.9, unknown', '10.0.0.1'],
    ['an empty place', '10.0.0.1', '203.0.113.9,,10.0.0.2', '10.0.0.2'],
    ['an unusual spelling', '10.0.0.1', '0x7f.1', '10.0.0.1'],
    ['no peer', '', '203.0.113.9', ''],
  ])('with %s', (_, peer, forwardedFor, address) => {
    expect(clientAddress(peer, forwardedFor)).toBe(address);
  });

  it.each(['10.0.0.0/33', 'proxy.example', '10.0.0', '::1/129', '10.0.0.0/', ''])(
    'refuses "%s" as a proxy',
    (range) => {
      expect(() => clientAddressBehind([range])).toThrow(/IMMUTABLE_TRUSTED_PROXIES/);
    },
  );
});
