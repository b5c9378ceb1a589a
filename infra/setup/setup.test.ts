import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MINIMUM_NATS_VERSION } from '../nats/version.ts';
import {
  aptConfig,
  archiveOf,
  isExpired,
  networkSettings,
  newerSuites,
  parseOsRelease,
  sourcesLine,
} from './apt.mjs';
import { withLock } from './lock.mjs';
import { MINIMUM_NATS, parseVersion } from './nats-server.mjs';
import { atLeast } from './node-version.mjs';
import { installsEverything, npmCommand } from './packages.mjs';
import { downloadRelease, platformName } from './release.mjs';
import { countsLine, judgeSkips, needOf, parseTestArgs, suitesOf } from './skips.mjs';
import { fingerprint, readStamp, writeStamp } from './stamp.mjs';
import { loadedFiles } from './unpacked.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'immutable-setup-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('versions', () => {
  it.each([
    ['2.15.0', '2.15.0', true],
    ['2.15.1', '2.15.0', true],
    ['2.9.10', '2.15.0', false],
    ['2.10.27', '2.15.0', false],
    ['3.0.0', '2.15.0', true],
    ['20.18.3', '20.19.0', false],
    ['22.0.0', '20.19.0', true],
    ['24', '20.19.0', true],
  ])('%s is at least %s: %s', (have, least, expected) => {
    expect(atLeast(have, least)).toBe(expected);
  });

  it.each([
    ['nats-server: v2.15.1\n', '2.15.1'],
    ['nats-server: v2.16.0-RC.2', '2.16.0'],
    ['2.15.1-1', '2.15.1'],
    ['2.10.27+ds1-1+b3', '2.10.27'],
    ['command not found', undefined],
  ])('%j names version %s', (text, expected) => {
    expect(parseVersion(text)).toBe(expected);
  });
});

it('the set-up and the program ask for the same NATS server', () => {
  expect(MINIMUM_NATS).toBe(MINIMUM_NATS_VERSION);
});

it('of what a program loads, the files are copied beside it', () => {
  const listing = [
    '\tlinux-vdso.so.1 (0x00007ffd4a5f2000)',
    '\tlibz.so.1 => /tmp/x y/usr/lib/libz.so.1 (0x00007f0a0c000000)',
    '\tlibgone.so => not found',
    '\t/lib64/ld-linux-x86-64.so.2 (0x00007f0a0d000000)',
  ].join('\n');
  expect(loadedFiles(listing)).toEqual(['/tmp/x y/usr/lib/libz.so.1']);
});

describe('npm packages', () => {
  const lock = {
    packages: {
      '': { version: '0.1.0' },
      'node_modules/a': { version: '1.0.0' },
      'node_modules/a-darwin': { version: '1.0.0', optional: true, os: ['darwin'] },
    },
  };
  it('are complete when every required one has its version', () => {
    expect(installsEverything(lock, { packages: { 'node_modules/a': { version: '1.0.0' } } })).toBe(true);
  });
  it.each([
    ['another version', { packages: { 'node_modules/a': { version: '1.0.1' } } }],
    ['a missing package', { packages: {} }],
    ['no record of an installation', undefined],
  ])('are not complete with %s', (_, installed) => {
    expect(installsEverything(lock, installed)).toBe(false);
  });
  it('are installed by the npm that runs us, or the one on PATH', () => {
    expect(npmCommand({ npm_execpath: '/opt/npm/bin/npm-cli.js' })).toEqual([
      process.execPath,
      '/opt/npm/bin/npm-cli.js',
    ]);
    expect(npmCommand({ npm_execpath: '/opt/yarn/bin/yarn.js' })).toEqual(['npm']);
    expect(npmCommand({})).toEqual(['npm']);
  });
});

describe('the package of a newer suite', () => {
  it('is looked for in the suites of the distribution', () => {
    expect(newerSuites('debian')).toEqual(['sid', 'testing', 'stable']);
    expect(newerSuites('ubuntu')).toEqual(['devel']);
    expect(newerSuites('fedora')).toEqual([]);
    expect(newerSuites(undefined)).toEqual([]);
  });

  it('comes from the mirror the machine takes its own release from', () => {
    const targets = [
      'http://security.example/debian-security/|bookworm-security|main|$(SIGNED_BY)',
      'http://mirror.example/debian/|bookworm-updates|main|$(SIGNED_BY)',
      'http://mirror.example/debian/|bookworm|main|/usr/share/keyrings/debian-archive-keyring.gpg',
    ].join('\n');
    expect(archiveOf(targets, 'bookworm')).toEqual({
      uri: 'http://mirror.example/debian/',
      signedBy: '/usr/share/keyrings/debian-archive-keyring.gpg',
    });
    expect(archiveOf(targets, 'trixie')).toBeUndefined();
    expect(archiveOf('', undefined)).toBeUndefined();
  });

  it('is checked against the keys named, and against its date unless that is allowed', () => {
    const line = {
      uri: 'http://mirror.example/debian/',
      keyrings: ['/a.gpg', '/b.gpg'],
      suite: 'sid',
      component: 'main',
    };
    expect(sourcesLine({ ...line, allowExpired: false })).toBe(
      'deb [signed-by=/a.gpg,/b.gpg] http://mirror.example/debian/ sid main\n',
    );
    expect(sourcesLine({ ...line, allowExpired: true })).toContain('check-valid-until=no');
  });

  it('is checked whatever the machine switches off', () => {
    const dump = [
      'Acquire::Check-Valid-Until "false";',
      'Acquire::AllowInsecureRepositories "true";',
      'APT::Update::Post-Invoke:: "rm -rf /";',
      'Acquire::http::Proxy "http://proxy.example:3128";',
    ].join('\n');
    const config = aptConfig('/w', networkSettings(dump));
    expect(config).toContain('Acquire::http::Proxy "http://proxy.example:3128";');
    expect(config).toContain('Acquire::Check-Valid-Until "true";');
    expect(config).toContain('Acquire::AllowInsecureRepositories "false";');
    expect(config).not.toContain('Post-Invoke');
  });

  it('tells an index past its date from other trouble', () => {
    const expired =
      'E: Release file for http://mirror.example/debian/dists/sid/InRelease is expired (invalid since 14d). Updates for this repository will not be applied.';
    expect(isExpired(expired)).toBe(true);
    expect(isExpired('W: GPG error: http://mirror.example sid InRelease: NO_PUBKEY')).toBe(false);
  });

  it('reads /etc/os-release', () => {
    expect(parseOsRelease('ID=debian\nVERSION_CODENAME="bookworm"\n# comment\n')).toMatchObject({
      ID: 'debian',
      VERSION_CODENAME: 'bookworm',
    });
  });
});

describe('the official release', () => {
  it('is named as its makers name platforms', () => {
    expect(platformName('linux', 'x64')).toBe('linux-amd64');
    expect(platformName('darwin', 'arm64')).toBe('darwin-arm64');
  });
  it('is not downloaded for a platform whose checksum nobody pinned', async () => {
    const outcome = await downloadRelease({ folder, versionOf: async () => '2.15.1', checksums: {} });
    expect(outcome.reason).toMatch(/no checksum is pinned/);
  });
});

describe('stamps', () => {
  it('are read back, and absent before they were written', () => {
    const path = join(folder, 'deep', 'stamp');
    expect(readStamp(path)).toBeUndefined();
    writeStamp(path, 'made from this');
    expect(readStamp(path)).toBe('made from this');
  });

  it('change when a file is added, removed, resized or touched', () => {
    const wanted = (path: string) => path.endsWith('.ts');
    const state = () => fingerprint(folder, ['src', 'absent'], wanted);
    mkdirSync(join(folder, 'src', 'inner'), { recursive: true });
    const file = join(folder, 'src', 'inner', 'a.ts');
    const seen = [state()];
    writeFileSync(file, 'one');
    seen.push(state());
    writeFileSync(join(folder, 'src', 'notes.md'), 'not a source');
    expect(state()).toBe(seen.at(-1));
    writeFileSync(file, 'longer');
    seen.push(state());
    utimesSync(file, new Date(1_000), new Date(1_000));
    seen.push(state());
    rmSync(file);
    expect(state()).toBe(seen[0]);
    expect(new Set(seen).size).toBe(4);
  });
});

describe('the lock', () => {
  it('lets one in at a time', async () => {
    const path = join(folder, 'lock');
    let inside = 0;
    let most = 0;
    const work = async () => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setTimeout(resolve, 20));
      inside -= 1;
    };
    await Promise.all([withLock(path, work), withLock(path, work), withLock(path, work)]);
    expect(most).toBe(1);
    expect(readStamp(path)).toBeUndefined();
  });

  it('is let go when the work fails', async () => {
    const path = join(folder, 'lock');
    await expect(withLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await withLock(path, async () => 'yes')).toBe('yes');
  });

  it('is taken over from a process that died, or fell silent elsewhere', async () => {
    const path = join(folder, 'lock');
    const { hostname } = await import('node:os');
    writeFileSync(path, `${hostname()} 4194304 dead`);
    expect(await withLock(path, async () => 'mine')).toBe('mine');
    writeFileSync(path, 'another-host 1 silent');
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(path, longAgo, longAgo);
    expect(await withLock(path, async () => 'mine')).toBe('mine');
  });
});

describe('skipped checks', () => {
  const name = 'test/e2e/servers.test.ts > the journey [needs container engine: no socket] > sends';
  it('say what they need', () => {
    expect(needOf(name)).toBe('container engine');
    expect(needOf('plain skip')).toBeUndefined();
  });
  it('are excused in CI by their need or their name, with the reason', () => {
    const optional = { 'container engine': 'not everywhere', 'plain skip': 'known' };
    expect(judgeSkips([name, 'plain skip', 'other'], optional)).toEqual({
      excused: [
        { name, reason: 'not everywhere' },
        { name: 'plain skip', reason: 'known' },
      ],
      unexcused: ['other'],
    });
  });
  it('are told by suite, with their number', () => {
    expect(suitesOf([name, `${name} twice`, 'other', 'a [needs x: y] > b'])).toEqual([
      'test/e2e/servers.test.ts > the journey [needs container engine: no socket]: 2 checks',
      'other',
      'a [needs x: y]',
    ]);
  });
  it('are counted in the closing line', () => {
    expect(countsLine({ passed: 3, failed: ['a'], skipped: ['b', 'c'] })).toBe(
      '3 passed, 1 failed, 2 skipped',
    );
  });
  it('of suites are chosen by name, and the rest is for vitest', () => {
    const known = ['unit', 'fault'];
    expect(parseTestArgs([], known)).toEqual({ projects: known, unknown: [], vitestArgs: [] });
    expect(parseTestArgs(['fault', '--', '-t', 'kill'], known)).toEqual({
      projects: ['fault'],
      unknown: [],
      vitestArgs: ['-t', 'kill'],
    });
    expect(parseTestArgs(['unti'], known).unknown).toEqual(['unti']);
  });
});
