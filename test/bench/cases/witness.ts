import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../../cli/ports.ts';
import { base64Encode, utf8Encode } from '../../../core/bytes.ts';
import { checkpointText, type SigningKey, signNote, verifierKeyOf } from '../../../core/checkpoint.ts';
import { cosign, verifyCosignatures } from '../../../core/cosignature.ts';
import { consistencyPath, leafHash, treeRoot } from '../../../core/tree.ts';
import { encodeAddCheckpoint } from '../../../core/witness-message.ts';
import { nativeHasher } from '../../../infra/hash.ts';
import { type Program, startProgram } from '../../support/stack.ts';
import type { BenchCase, Figure } from '../case.ts';

const LOGS = 64;
/** As after ten seconds of a busy workspace: a proof of some fifteen hashes would be usual; this has eight. */
const STEP_LEAVES = 100;
const FIRST_LEAVES = 10;
const LIMIT_ROUNDS = 300;
const ORIGIN = 'bench.example.test';
const SEED = new Uint8Array(32).fill(1);

/** A witness and as many logs as a small installation has, each with a request under way all the time. */
export const witness: BenchCase = {
  name: 'witness',
  about: `checkpoints of ${LOGS} logs, each cosigned and on disk before the answer`,
  async run({ seconds, progress }) {
    const directory = mkdtempSync(join(tmpdir(), 'immutable-bench-witness-'));
    const port = await freePort();
    const { publicKey } = verifierKeyOf({ name: ORIGIN, seed: SEED });
    const program = startProgram(
      ['witness', '--directory', directory, '--name', 'witness.example.test', '--port', String(port)].concat([
        '--log-key',
        base64Encode(publicKey),
        '--log-origin',
        ORIGIN,
      ]),
      { IMMUTABLE_LOG_LEVEL: 'warn' },
    );
    try {
      await program.until(() => isReady(port), 20_000);
      progress(`signing the checkpoints of ${LOGS} logs`);
      const requests = await prepare(Math.ceil(seconds * EXPECTED_PER_SECOND_AND_LOG) + 2);
      progress(`sending for ${seconds} s`);
      return [await measure(program, `http://127.0.0.1:${port}/add-checkpoint`, requests, seconds)];
    } finally {
      await program.stop('SIGTERM');
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

/** More than are answered, so that none has to be made while time is taken. */
const EXPECTED_PER_SECOND_AND_LOG = 12;

async function isReady(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
  await response?.arrayBuffer();
  return response?.ok ?? false;
}

/** For each log its requests, in order: every one continues the one before. */
async function prepare(steps: number): Promise<string[][]> {
  const leaves = Array.from({ length: FIRST_LEAVES + steps * STEP_LEAVES }, (_, index) =>
    leafHash(utf8Encode(`event ${index}`), nativeHasher),
  );
  // The trees are the same for all logs; only names and signatures differ.
  const sizes = Array.from({ length: steps }, (_, step) => FIRST_LEAVES + step * STEP_LEAVES);
  const trees = sizes.map((size, step) => {
    const own = leaves.slice(0, size);
    const oldSize = sizes[step - 1] ?? 0;
    return {
      size,
      oldSize,
      root: treeRoot(own, nativeHasher),
      consistencyProof: consistencyPath(own, oldSize, nativeHasher),
    };
  });
  return Array.from({ length: LOGS }, (_, log) => {
    const key: SigningKey = { name: `${ORIGIN}/ws_${log}`, seed: SEED };
    return trees.map(({ size, oldSize, root, consistencyProof }) => {
      const note = signNote(checkpointText(key.name, size, root), key, nativeHasher);
      return encodeAddCheckpoint({ oldSize, consistencyProof, note });
    });
  });
}

async function measure(
  program: Program,
  url: string,
  requests: readonly string[][],
  seconds: number,
): Promise<Figure> {
  const began = performance.now();
  const latenciesMs: number[] = [];
  async function send(bodies: readonly string[]): Promise<void> {
    for (const body of bodies) {
      const from = performance.now();
      if (from - began > seconds * 1000) return;
      const response = await fetch(url, { method: 'POST', body });
      const answer = await response.text();
      if (response.status !== 200) throw new Error(`${response.status} ${answer}\n${program.output()}`);
      latenciesMs.push(performance.now() - from);
    }
    throw new Error('too few requests were prepared');
  }
  await Promise.all(requests.map(send));
  const elapsedMs = performance.now() - began;
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const quantile = (share: number) => sorted[Math.floor(share * sorted.length)] ?? 0;
  return {
    name: 'witness',
    value: (latenciesMs.length * 1000) / elapsedMs,
    unit: 'checkpoints/s',
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    limit: {
      name: 'one verification and one signature of Ed25519, in one thread',
      value: signaturesPerSecond(),
    },
    remarks: [`${LOGS} logs, one request of each under way; the load generator on the same machine`],
  };
}

/** What no witness can leave out. */
function signaturesPerSecond(): number {
  const key: SigningKey = { name: 'witness.example.test', seed: SEED };
  const text = checkpointText(`${ORIGIN}/ws_1`, 1, new Uint8Array(32));
  const note = `${text}\n${cosign(text, key, 1)}`;
  const began = performance.now();
  for (let round = 0; round < LIMIT_ROUNDS; round += 1) {
    verifyCosignatures(note, [verifierKeyOf(key)], nativeHasher);
    cosign(text, key, round, nativeHasher);
  }
  return (LIMIT_ROUNDS * 1000) / (performance.now() - began);
}
