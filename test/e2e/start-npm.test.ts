import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { dataDirAt } from '../../cli/data-dir.ts';
import { freePort } from '../../cli/ports.ts';
import { observe } from '../support/stack.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const folders: string[] = [];
const groups: number[] = [];

afterAll(() => {
  for (const group of groups) endGroup(group);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describe('npm start', () => {
  /** npm hands a signal to the shell that runs the script; the script must have taken that shell's place. */
  it.each(['SIGINT', 'SIGTERM'] as const)('ends with code 0 when npm alone gets %s', async (signal) => {
    const folder = mkdtempSync(join(tmpdir(), 'immutable-npm-'));
    folders.push(folder);
    const npm = observe(
      spawn('npm', ['start'], {
        cwd: PROJECT,
        env: {
          ...process.env,
          IMMUTABLE_DATA_DIR: folder,
          IMMUTABLE_PORT: String(await freePort()),
          IMMUTABLE_CLICKHOUSE_PORT: String(await freePort()),
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      }),
    );
    if (npm.pid !== undefined) groups.push(npm.pid);
    await npm.until(() => npm.output().includes('Immutable is running'), 40_000);
    const ended = await npm.stop(signal);
    expect(ended, ended.output).toMatchObject({ code: 0, signal: null });
    expect(ended.ms).toBeLessThan(10_000);
    expect(ended.output).toContain('Stopped.');
    expect(existsSync(dataDirAt(folder).runFile)).toBe(false);
  });
});

/** What a failed attempt left. */
function endGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // Nothing is left.
  }
}
