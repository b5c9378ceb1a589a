import { existsSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../../core/errors.ts';
import { claimByFile } from './claim.ts';
import { processIdentity } from './identity.ts';

const newPath = () => join(mkdtempSync(join(tmpdir(), 'immutable-claim-')), 'claim.json');

describe('claimByFile', () => {
  it('lets one have it until it lets go', async () => {
    const path = newPath();
    const first = await claimByFile(path);
    expect(first.isHeld()).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await expect(claimByFile(path)).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    first.check();
    first.release();
    expect(existsSync(path)).toBe(false);
    const second = await claimByFile(path);
    second.check();
    second.release();
  });

  it('is taken over from a process that is gone, also where its id belongs to another one now', async () => {
    for (const left of [
      JSON.stringify({ pid: 2 ** 22 + 1, identity: 'x', token: 'x' }),
      JSON.stringify({ pid: process.pid, identity: 'an earlier life', token: 'x' }),
      '{"pid":',
      '',
    ]) {
      const path = newPath();
      writeFileSync(path, left);
      const claim = await claimByFile(path);
      claim.check();
      claim.release();
    }
  });

  it('is had by at most one of those that ask at the same moment', async () => {
    const path = newPath();
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => claimByFile(path)));
    const had = results.filter(({ status }) => status === 'fulfilled');
    expect(had.length).toBeLessThanOrEqual(1);
  });

  it('tells the one who lost it, and is not let go by it', async () => {
    const path = newPath();
    const claim = await claimByFile(path);
    const other = { pid: process.pid, identity: processIdentity(process.pid), token: 'another' };
    writeFileSync(path, JSON.stringify(other));
    expect(claim.isHeld()).toBe(false);
    expect(() => claim.check()).toThrow(ImmutableError);
    claim.release();
    expect(existsSync(path)).toBe(true);
  });
});
