import { describe, expect, it } from 'vitest';
import { type AddressLimit, createAddressLimit } from './address-limit.ts';

function limited(options: { perMinute?: number; addresses?: number } = {}) {
  let nowMs = 1_000_000;
  const limit = createAddressLimit(() => nowMs, { perMinute: 60, ...options });
  return {
    limit,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

/** How many of so many requests at once are let through. */
function passing(limit: AddressLimit, address: string, requests: number): number {
  let count = 0;
  for (let request = 0; request < requests; request += 1) {
    try {
      limit(address);
      count += 1;
    } catch {}
  }
  return count;
}

describe('the limit by address', () => {
  it('lets a minute’s worth through at once, and then as many as time brings', () => {
    const { limit, pass } = limited();
    expect(passing(limit, 'a', 100)).toBe(60);
    pass(1_000);
    expect(passing(limit, 'a', 5)).toBe(1);
    pass(3_000);
    expect(passing(limit, 'a', 5)).toBe(3);
    pass(3_600_000);
    expect(passing(limit, 'a', 100)).toBe(60);
  });

  it('counts an IPv6 network of one subscriber as one address, however it is spelt', () => {
    const { limit } = limited();
    const hosts = ['::1', '::2', '0:0:0:3', 'ffff:ffff:ffff:ffff', '0:0:ABCD:1'];
    const letThrough = hosts.map((host) =>
      passing(limit, `2001:db8:1:2:${host.replace('::', '0:0:0:')}`, 20),
    );
    expect(letThrough).toEqual([20, 20, 20, 0, 0]);
    expect(passing(limit, '2001:DB8:1:2::9', 1)).toBe(0);
    expect(passing(limit, '2001:db8:1:3::1', 100)).toBe(60);
  });

  it('knows an IPv4 address that came over IPv6, and tells it from others', () => {
    const { limit } = limited();
    expect(passing(limit, '::ffff:192.0.2.1', 100)).toBe(60);
    expect(passing(limit, '192.0.2.1', 100)).toBe(0);
    expect(passing(limit, '::ffff:192.0.2.2', 100)).toBe(60);
  });

  it('says how long to wait, and that is long enough', () => {
    const { limit, pass } = limited({ perMinute: 20 });
    passing(limit, 'a', 20);
    let retryAfterSeconds = 0;
    try {
      limit('a');
    } catch (error) {
      expect(error).toMatchObject({ code: 'rate_limited' });
      retryAfterSeconds = (error as { retryAfterSeconds: number }).retryAfterSeconds;
    }
    expect(retryAfterSeconds).toBe(3);
    pass(retryAfterSeconds * 1_000);
    expect(passing(limit, 'a', 5)).toBe(1);
  });

  it('gives who asks a little too often as many as everybody, not none', () => {
    const { limit, pass } = limited();
    passing(limit, 'a', 60);
    let count = 0;
    for (let request = 0; request < 110; request += 1) {
      pass(60_000 / 66);
      count += passing(limit, 'a', 1);
    }
    expect(count).toBeGreaterThanOrEqual(99);
    expect(count).toBeLessThanOrEqual(101);
  });

  it('keeps addresses apart', () => {
    const { limit } = limited();
    passing(limit, 'a', 100);
    expect(passing(limit, 'b', 100)).toBe(60);
  });

  it('remembers only so many addresses, those that asked last', () => {
    const { limit } = limited({ addresses: 2 });
    passing(limit, 'a', 100);
    passing(limit, 'b', 100);
    passing(limit, 'a', 1);
    passing(limit, 'c', 1);
    expect(passing(limit, 'a', 1)).toBe(0);
    expect(passing(limit, 'b', 1)).toBe(1);
  });
});
