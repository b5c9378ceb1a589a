import { existsSync } from 'node:fs';
import { type SigningKey, verifierKeyOf } from '../core/checkpoint.ts';
import { encodeCosignerKey } from '../core/cosignature.ts';
import type { Route } from '../infra/http/types.ts';
import type { Logger } from '../infra/log.ts';
import { Counter, type Registry } from '../infra/metrics.ts';
import { claimByFile } from '../infra/process/claim.ts';
import { createCosigner } from './cosigner.ts';
import { prepareWitnessFiles } from './files.ts';
import { createKeeper } from './keeper.ts';
import { readOrMakeKey } from './key-file.ts';
import { witnessRoutes } from './routes.ts';
import type { TrustedLogs } from './trusted-logs.ts';

export interface WitnessOptions {
  /** Everything it keeps; made if need be. */
  directory: string;
  /** Wanted at the first start; later starts may leave it out. */
  name: string | undefined;
  trusted: TrustedLogs;
  log: Logger;
  metrics: Registry;
}

export interface Witness {
  routes: Route[];
  /** As it stands in policies. */
  verifierKey: string;
  /** What stands in the way of work, one sentence each. */
  ready(): string[];
  stop(): void;
}

/** Throws `misconfigured` where another process works on the directory, or its key cannot be used. */
export async function startWitness(options: WitnessOptions): Promise<Witness> {
  const { directory, name, trusted, log, metrics } = options;
  const files = prepareWitnessFiles(directory);
  const claim = await claimByFile(files.claim);
  const key = readOrMakeKey(files, name);
  const keeper = createKeeper(files.checkpoints, verifierKeyOf(key));
  const cosigner = createCosigner({ key, trusted, keeper, claim, nowMs: Date.now, log });
  const answers = new Counter({
    name: 'immutable_witness_answers_total',
    help: 'Answers to add-checkpoint requests',
    labelNames: ['status'] as const,
    registers: [metrics],
  });
  const verifierKey = verifierKeyText(key);
  return {
    routes: witnessRoutes({ cosigner, keeper, verifierKey, answers }),
    verifierKey,
    ready: () => (claim.isHeld() ? [] : ['Another process has taken the directory.']),
    stop: () => claim.release(),
  };
}

/** The key of the witness in this directory, made if there is none yet. */
export async function verifierKeyIn(directory: string, name: string | undefined): Promise<string> {
  const files = prepareWitnessFiles(directory);
  if (existsSync(files.key)) return verifierKeyText(readOrMakeKey(files, name));
  // Of two that make a key at the same moment, one would work with a key that is not on disk.
  const claim = await claimByFile(files.claim);
  try {
    return verifierKeyText(readOrMakeKey(files, name));
  } finally {
    claim.release();
  }
}

function verifierKeyText(key: SigningKey): string {
  return encodeCosignerKey(verifierKeyOf(key));
}
