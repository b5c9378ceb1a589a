import { accessSync, constants, mkdirSync, statfsSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ImmutableError } from '../core/errors.ts';
import { writePrivateFile } from '../infra/private-file.ts';

/** Where everything is that the embedded stack keeps. */
export interface DataDir {
  path: string;
  nats: string;
  clickhouse: string;
  keys: string;
  /** Exports and archives, unless a bucket is configured. Made by the object store when it is first used. */
  objects: string;
  /** The chain of `--local-chain`. */
  localChain: string;
  logs: string;
  runFile: string;
  credentialsFile: string;
}

export const GIB = 1024 ** 3;
const LEAST_FREE_BYTES = GIB;

export function dataDirAt(path: string): DataDir {
  return {
    path,
    nats: join(path, 'nats'),
    clickhouse: join(path, 'clickhouse'),
    keys: join(path, 'keys'),
    objects: join(path, 'objects'),
    localChain: join(path, 'local-chain'),
    logs: join(path, 'logs'),
    runFile: join(path, 'run.json'),
    credentialsFile: join(path, 'credentials.json'),
  };
}

/** Makes what is missing. Throws `misconfigured` where the directory cannot be used or its disk is nearly full. */
export function prepareDataDir(path: string): DataDir {
  const directory = dataDirAt(path);
  try {
    for (const folder of [path, directory.nats, directory.clickhouse, directory.keys, directory.logs]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    }
    refuseFullDisk(path, freeBytes(path));
    // Permissions say one thing, a read-only or broken disk another.
    const probe = join(path, '.writable');
    writePrivateFile(probe, '');
    unlinkSync(probe);
  } catch (cause) {
    if (cause instanceof ImmutableError) throw cause;
    throw new ImmutableError(
      'misconfigured',
      `The data directory ${path} cannot be used: ${sentence(cause)}.`,
      {
        nextStep: 'Make it writable for this user, or set IMMUTABLE_DATA_DIR to another directory.',
        cause,
      },
    );
  }
  return directory;
}

/** Free for this user, on the disk that holds `path`. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** The size of the disk that holds `path`. */
export function diskBytes(path: string): number {
  const { blocks, bsize } = statfsSync(path);
  return blocks * bsize;
}

export function refuseFullDisk(path: string, free: number): void {
  if (free >= LEAST_FREE_BYTES) return;
  throw new ImmutableError(
    'misconfigured',
    `The disk of the data directory ${path} has ${Math.floor(free / 1024 ** 2)} MiB left; at least ${LEAST_FREE_BYTES / 1024 ** 2} MiB are needed.`,
    { nextStep: 'Free some space, or set IMMUTABLE_DATA_DIR to a directory on another disk.' },
  );
}

function sentence(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'this user has no right to write there';
    case 'EROFS':
      return 'its file system is read-only';
    case 'ENOTDIR':
    case 'EEXIST':
      return 'something on the way to it is a file, not a directory';
    case 'ENOSPC':
      return 'its disk is full';
    default:
      return cause instanceof Error ? cause.message : String(cause);
  }
}
