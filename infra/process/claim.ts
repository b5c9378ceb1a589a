import { randomUUID } from 'node:crypto';
import { readFileSync, unlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ImmutableError } from '../../core/errors.ts';
import { writePrivateFile } from '../private-file.ts';
import { isSameProcess, processIdentity } from './identity.ts';

const schema = z.object({ pid: z.int(), identity: z.string(), token: z.string() });
type Holder = z.infer<typeof schema>;

/** The right of one process to write in a directory. */
export interface Claim {
  isHeld(): boolean;
  /**
   * Throws `fenced` once another process has taken it. Asked right before a write *and* between the write and
   * whatever is told of it.
   */
  check(): void;
  release(): void;
}

/** Long enough for a start at the same moment to have written its own claim over ours. */
const SETTLE_MS = 100;

/**
 * Claims by a file that names the process. One whose process is gone, after a power cut or a kill, is taken
 * over. Throws `misconfigured` while the other one runs.
 */
export async function claimByFile(path: string): Promise<Claim> {
  const before = readHolder(path);
  if (before !== undefined && isSameProcess(before.pid, before.identity)) throw alreadyHeld(before, path);
  const token = randomUUID();
  const mine: Holder = { pid: process.pid, identity: processIdentity(process.pid) ?? '', token };
  writePrivateFile(path, `${JSON.stringify(mine)}\n`);
  await sleep(SETTLE_MS);
  const isHeld = () => readHolder(path)?.token === token;
  if (!isHeld()) throw alreadyHeld(readHolder(path), path);
  return {
    isHeld,
    check() {
      if (!isHeld()) throw new ImmutableError('fenced', `Another process has taken ${path}.`);
    },
    release() {
      if (isHeld()) unlinkSync(path);
    },
  };
}

/** A file that cannot be read tells nothing: it was cut short together with whoever wrote it. */
function readHolder(path: string): Holder | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

function alreadyHeld(holder: Holder | undefined, path: string): ImmutableError {
  const which = holder === undefined ? '' : ` (process ${holder.pid})`;
  return new ImmutableError('misconfigured', `Another process${which} already works here: ${path}.`, {
    nextStep: 'Stop it first, or take another directory.',
  });
}
