import { accessSync, constants, existsSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';
import { findAnvil } from '../../infra/evm/anvil.ts';
import { LIBREOFFICE_FOLDER } from './libreoffice.ts';
import { RADOSGW_FOLDER } from './s3.ts';

/** Something a machine may lack. */
export interface Need {
  /** As test/optional.json and the report of `npm test` name it. */
  name: string;
  /** Why this machine cannot serve it, or undefined when it can. */
  missing(): Promise<string | undefined>;
}

/**
 * `describe`, skipped where the machine lacks what it needs. The name then says so, which is how
 * `npm test` reports it (and, with CI=true, refuses it unless test/optional.json gives a reason).
 * Await it at the top level of a test file.
 */
export async function describeNeeding(need: Need, name: string, body: () => void): Promise<void> {
  const missing = await need.missing();
  if (missing === undefined) describe(name, body);
  else describe.skip(`${name} [needs ${need.name}: ${missing}]`, body);
}

/** Docker or Podman, reachable as testcontainers reaches it. */
export const containerEngine: Need = {
  name: 'container engine',
  missing: async () => {
    if (process.env.DOCKER_HOST) return undefined;
    const sockets = engineSockets().filter((path) => existsSync(path));
    if (sockets.length === 0) return 'there is no Docker or Podman socket';
    for (const path of sockets) if (await accepts(path)) return undefined;
    return `nobody answers at ${sockets.join(' or ')}`;
  },
};

/** Ceph's radosgw, which `npm test` installs (infra/setup/radosgw.mjs) and only tests use. */
export const s3Server: Need = {
  name: 'S3 server',
  missing: async () => {
    if (existsSync(join(RADOSGW_FOLDER, 'ORIGIN'))) return undefined;
    return process.env.TEST_NO_S3_SERVER ?? 'npm test installs it, and did not run in this folder';
  },
};

/** LibreOffice Calc, which `npm test` installs (infra/setup/libreoffice.mjs) and only tests use. */
export const spreadsheet: Need = {
  name: 'spreadsheet program',
  missing: async () => {
    if (existsSync(join(LIBREOFFICE_FOLDER, 'ORIGIN'))) return undefined;
    return process.env.TEST_NO_SPREADSHEET ?? 'npm test installs it, and did not run in this folder';
  },
};

/** A local Ethereum chain, from the development packages. */
export const anvil: Need = {
  name: 'anvil',
  missing: async () => {
    try {
      await findAnvil();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  },
};

/** Programs of the system, all of them. */
export function programs(name: string, ...names: string[]): Need {
  return {
    name,
    missing: async () => {
      const absent = names.filter((program) => !isOnPath(program));
      return absent.length === 0 ? undefined : `${absent.join(' and ')} is not on PATH`;
    },
  };
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function engineSockets(): string[] {
  const home = process.env.HOME ?? '/root';
  const runtime = process.env.XDG_RUNTIME_DIR ?? `/run/user/${process.getuid?.() ?? 0}`;
  return [
    '/var/run/docker.sock',
    join(home, '.docker', 'run', 'docker.sock'),
    join(runtime, 'docker.sock'),
    join(runtime, 'podman', 'podman.sock'),
  ];
}

function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const answer = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.setTimeout(2_000, () => answer(false));
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}
