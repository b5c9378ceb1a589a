import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../../core/errors.ts';
import { parseDestination } from './destination.ts';
import { isRange, outboundPolicy, reachOf } from './policy.ts';

const PUBLIC_ONLY = outboundPolicy([]);

function refusalOf(url: string, policy = PUBLIC_ONLY): string | undefined {
  const parsed = parseDestination(url, policy);
  return parsed.ok ? undefined : parsed.refusal;
}

const NOT_PUBLIC = [
  // Spellings of 127.0.0.1 that the URL standard reads
  'https://127.0.0.1/',
  'https://127.0.0.1:8443/',
  'https://127.1/',
  'https://127.0.1/',
  'https://0x7f.1/',
  'https://0x7f.0x0.0x0.0x1/',
  'https://0x7f000001/',
  'https://2130706433/',
  'https://017700000001/',
  'https://0177.0.0.1/',
  'https://127.0.0.1./',
  'https://127.000.000.001/',
  'https://%31%32%37.0.0.1/',
  'https://１２７.0.0.1/',
  'https://127。0。0。1/',
  'https://①②⑦.0.0.1/',
  'https:\\\\127.0.0.1\\',
  'https://127.0.\t0.1/',
  ' https://127.0.0.1/ ',
  'HTTPS://127.0.0.1/',
  // IPv4
  'https://0.0.0.0/',
  'https://0/',
  'https://0.1.2.3/',
  'https://10.0.0.1/',
  'https://10.255.255.255/',
  'https://100.64.0.1/',
  'https://100.100.100.200/',
  'https://100.127.255.255/',
  'https://127.255.255.254/',
  'https://168.63.129.16/',
  'https://169.254.0.1/',
  'https://169.254.169.254/latest/meta-data/',
  'https://0xa9fea9fe/',
  'https://2852039166/',
  'https://172.16.0.1/',
  'https://172.31.255.255/',
  'https://192.0.0.192/',
  'https://192.0.2.1/',
  'https://192.88.99.1/',
  'https://192.168.0.1/',
  'https://192.168.255.255/',
  'https://198.18.0.1/',
  'https://198.19.255.255/',
  'https://198.51.100.7/',
  'https://203.0.113.7/',
  'https://224.0.0.1/',
  'https://239.255.255.255/',
  'https://240.0.0.1/',
  'https://255.255.255.255/',
  // IPv6
  'https://[::]/',
  'https://[::1]/',
  'https://[0:0:0:0:0:0:0:1]/',
  'https://[0000::0001]/',
  'https://[::127.0.0.1]/',
  'https://[::7f00:1]/',
  'https://[::ffff:127.0.0.1]/',
  'https://[::ffff:7f00:1]/',
  'https://[::ffff:a9fe:a9fe]/',
  'https://[::ffff:8.8.8.8]/',
  'https://[::ffff:0:127.0.0.1]/',
  'https://[64:ff9b::127.0.0.1]/',
  'https://[64:ff9b::a9fe:a9fe]/',
  'https://[64:ff9b:1::10.0.0.1]/',
  'https://[100::1]/',
  'https://[2001::1]/',
  'https://[2001:0:a00:1::]/',
  'https://[2001:2::1]/',
  'https://[2001:10::1]/',
  'https://[2001:20::1]/',
  'https://[2001:db8::1]/',
  'https://[2002:7f00:1::]/',
  'https://[2002:a9fe:a9fe::1]/',
  'https://[3fff::1]/',
  'https://[5f00::1]/',
  'https://[fc00::1]/',
  'https://[fd00:ec2::254]/',
  'https://[fe80::1]/',
  'https://[febf::1]/',
  'https://[fec0::1]/',
  'https://[ff02::1]/',
  'https://[4000::1]/',
];

const PUBLIC = [
  'https://example.com/hook',
  'https://example.com:443/',
  'https://splunk.example.com:8088/services/collector/event',
  'https://example.com:1024/',
  'https://example.com:65535/',
  'https://1.1.1.1/',
  'https://8.8.8.8:8443/',
  'https://9.255.255.255/',
  'https://11.0.0.0/',
  'https://100.63.255.255/',
  'https://100.128.0.0/',
  'https://126.255.255.255/',
  'https://128.0.0.0/',
  'https://169.253.255.255/',
  'https://172.15.255.255/',
  'https://172.32.0.0/',
  'https://192.167.255.255/',
  'https://192.169.0.0/',
  'https://198.17.255.255/',
  'https://198.20.0.0/',
  'https://223.255.255.255/',
  'https://[2001:200::1]/',
  'https://[2606:4700:4700::1111]/',
  'https://[2a00:1450:4001::5]/',
  'https://[2003::1]/',
];

describe('parseDestination', () => {
  it.each(NOT_PUBLIC)('refuses %j: not public', (url) => {
    expect(refusalOf(url)).toBe('leads to an address that is not public');
  });

  it.each(PUBLIC)('takes %s', (url) => {
    expect(refusalOf(url)).toBeUndefined();
  });

  it.each([
    ['', 'must be an absolute URL, such as https://example.com/hook'],
    ['example.com', 'must be an absolute URL, such as https://example.com/hook'],
    ['https://', 'must be an absolute URL, such as https://example.com/hook'],
    ['https://256.256.256.256/', 'must be an absolute URL, such as https://example.com/hook'],
    ['https://[fe80::1%25eth0]/', 'must be an absolute URL, such as https://example.com/hook'],
    ['https://example.com:99999/', 'must be an absolute URL, such as https://example.com/hook'],
    ['http://example.com/', 'must begin with https://'],
    ['ftp://example.com/', 'must begin with https://'],
    ['file:///etc/passwd', 'must begin with https://'],
    ['gopher://127.0.0.1:6379/_', 'must begin with https://'],
    ['https://user@example.com/', 'must hold no user name and no password; send them in a header'],
    ['https://:secret@example.com/', 'must hold no user name and no password; send them in a header'],
    ['https://example.com@127.0.0.1/', 'must hold no user name and no password; send them in a header'],
    ['https://example.com:22/', 'must use port 443, or one from 1024'],
    ['https://example.com:25/', 'must use port 443, or one from 1024'],
    ['https://example.com:80/', 'must use port 443, or one from 1024'],
    ['https://example.com:1023/', 'must use port 443, or one from 1024'],
    [`https://example.com/${'x'.repeat(2_048)}`, 'must have at most 2048 characters'],
  ])('refuses %j and says why', (url, refusal) => {
    expect(refusalOf(url)).toBe(refusal);
  });

  it('takes what the operator allows, also unencrypted, and nothing beside it', () => {
    const policy = outboundPolicy(['10.1.0.0/16', 'fd00::/8', '127.0.0.1']);
    const allowed = [
      'https://10.1.2.3/',
      'http://10.1.2.3/',
      'http://[fd12::1]:9200/',
      'http://127.0.0.1:8088/',
    ];
    expect(allowed.filter((url) => refusalOf(url, policy) !== undefined)).toEqual([]);
    const others = [
      'https://10.2.0.1/',
      'http://10.2.0.1/',
      'https://127.0.0.2/',
      'https://[fc00::1]/',
      'http://1.1.1.1/',
    ];
    expect(others.filter((url) => refusalOf(url, policy) === undefined)).toEqual([]);
    expect(refusalOf('http://10.1.2.3:443/', policy)).toBe('must use port 80, or one from 1024');
    expect(refusalOf('https://[::ffff:10.1.2.3]/', policy)).toBeDefined();
  });
});

describe('reachOf', () => {
  it.each(['', 'example.com', '0x7f.1', '010.0.0.1', '8.8.8.8%eth0', '2606:4700::1%eth0'])(
    'refuses %j, which is no plain address',
    (text) => {
      expect(reachOf(text, PUBLIC_ONLY)).toBe('refused');
    },
  );
});

describe('isRange', () => {
  it.each(['10.0.0.0/8', '192.0.2.1', 'fd00::/8', '::1', '0.0.0.0/0'])('%s is one', (range) => {
    expect(isRange(range)).toBe(true);
  });

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0/8',
    'fd00::/129',
    'fe80::1%eth0',
    'localhost',
    '10.0.0.0/ 8',
  ])('%j is none', (range) => {
    expect(isRange(range)).toBe(false);
    expect(() => outboundPolicy([range])).toThrow(ImmutableError);
  });
});
