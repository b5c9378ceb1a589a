import { mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../core/errors.ts';
import { prepareDataDir, refuseFullDisk } from './data-dir.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'immutable-data-'));

function problemOf(action: () => unknown): ImmutableError {
  try {
    action();
  } catch (error) {
    if (error instanceof ImmutableError) return error;
    throw error;
  }
  throw new Error('there was no problem');
}

describe('prepareDataDir', () => {
  it('makes everything, for its owner alone, as often as it is asked', () => {
    const path = join(folder(), 'some', 'data');
    for (const directory of [prepareDataDir(path), prepareDataDir(path)]) {
      for (const made of [directory.path, directory.nats, directory.keys, directory.logs]) {
        expect(statSync(made).mode & 0o777).toBe(0o700);
      }
    }
  });

  it('says in one sentence why a directory cannot be used, and what to do', () => {
    const file = join(folder(), 'file');
    writeFileSync(file, '');
    const problem = problemOf(() => prepareDataDir(join(file, 'data')));
    expect(problem.message).toContain('something on the way to it is a file');
    expect(problem.nextStep).toContain('IMMUTABLE_DATA_DIR');
  });
});

describe('refuseFullDisk', () => {
  it('wants one GiB', () => {
    refuseFullDisk('/data', 1024 ** 3);
    const problem = problemOf(() => refuseFullDisk('/data', 1024 ** 3 - 1));
    expect(problem.message).toBe(
      'The disk of the data directory /data has 1023 MiB left; at least 1024 MiB are needed.',
    );
  });
});
