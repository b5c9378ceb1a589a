import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../../cli/ports.ts';
import { base64Encode } from '../../core/bytes.ts';
import { verifierKeyOf } from '../../core/checkpoint.ts';
import { parseCosignerKey } from '../../core/cosignature.ts';
import { encodeAddCheckpoint } from '../../core/witness-message.ts';
import { submitCheckpoint, type WitnessAddress } from '../../pipeline/tree/witness-client.ts';
import { createSampleLog } from '../support/log.ts';
import { type Program, runProgram, startProgram } from '../support/stack.ts';

const NAME = 'witness.example.test/w1';
const LEAF_COUNT = 2_000;
const LOG = createSampleLog('audit.example.test/ws_1', LEAF_COUNT);
const LOG_KEY = base64Encode(verifierKeyOf(LOG.key).publicKey);
const programs: Program[] = [];

afterEach(async () => {
  for (const program of programs.splice(0)) await program.stop('SIGKILL');
});

const newDirectory = () => mkdtempSync(join(tmpdir(), 'immutable-witness-'));
const SETTINGS = { IMMUTABLE_LOG_LEVEL: 'warn' };

/** The real program, in a directory of its own and nothing else: no NATS, no ClickHouse. */
async function start(directory: string, port: number, logs: string[]): Promise<Program> {
  const args = ['witness', '--directory', directory, '--name', NAME, '--port', String(port), ...logs];
  const program = startProgram(args, SETTINGS);
  programs.push(program);
  await program.until(() => isReady(port), 20_000);
  return program;
}

async function isReady(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
  await response?.arrayBuffer();
  return response?.ok ?? false;
}

async function addressOf(directory: string, port: number): Promise<WitnessAddress> {
  const printed = await runProgram(['witness', '--directory', directory, '--print-key'], SETTINGS);
  const key = parseCosignerKey(printed.stdout.trim());
  if (key === null) throw new Error(printed.output);
  return { key, url: `http://127.0.0.1:${port}` };
}

/** The size that a witness tells to whoever does not know it; it must have cosigned something. */
async function knownSize(url: string): Promise<number> {
  const body = encodeAddCheckpoint({ oldSize: 0, consistencyProof: [], note: LOG.noteOf(LEAF_COUNT) });
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body });
  const text = await response.text();
  if (response.status !== 409) throw new Error(`${response.status}: ${text}`);
  return Number(text);
}

describe('immutable witness', () => {
  const ORIGINS = ['--log-key', LOG_KEY, '--log-origin', 'audit.example.test'];

  it('killed with -9 between and within requests, never falls back behind what it answered', async () => {
    const [directory, port] = [newDirectory(), await freePort()];
    let program = await start(directory, port, ORIGINS);
    const witness = await addressOf(directory, port);
    const fork = LOG.forkedAfter(0);
    const { proofFrom } = LOG;
    await submitCheckpoint({ witness, note: LOG.noteOf(1), rememberedSize: 0, proofFrom });
    let answered = 1;
    for (let life = 0; life < 8; life += 1) {
      const until = performance.now() + 30 + 40 * life;
      const killing = sleep(until - performance.now()).then(() => program.stop('SIGKILL'));
      for (let size = answered + 1; size <= LEAF_COUNT; size += 1) {
        const result = await submitCheckpoint({
          witness,
          note: LOG.noteOf(size),
          rememberedSize: answered,
          proofFrom,
        });
        if (result.kind !== 'cosigned') {
          expect(result.reason).toBe('unreachable');
          break;
        }
        answered = size;
      }
      await killing;
      program = await start(directory, port, ORIGINS);
      // What was in flight may be kept or not; what was answered is.
      const known = await knownSize(witness.url);
      expect([answered, answered + 1]).toContain(known);
      answered = known;
      const forked = await submitCheckpoint({
        witness,
        note: fork.noteOf(known + 1),
        rememberedSize: known,
        proofFrom: fork.proofFrom,
      });
      expect(forked).toMatchObject({ kind: 'failed', reason: 'not_consistent' });
    }
    expect(answered).toBeGreaterThan(8);
  });

  it('works on a directory alone', async () => {
    const [directory, port] = [newDirectory(), await freePort()];
    await start(directory, port, ORIGINS);
    const second = await runProgram(
      ['witness', '--directory', directory, '--port', String(await freePort()), ...ORIGINS],
      SETTINGS,
    );
    expect(second.code).toBe(1);
    expect(second.output).toContain('already works here');
  });

  it('follows the logs of a policy, and those named alone', async () => {
    const [directory, port] = [newDirectory(), await freePort()];
    const [inPolicy, named, neither] = [1, 2, 3].map((number) =>
      createSampleLog(`log${number}.example.test`, 10, number),
    );
    const policy = join(directory, 'policy');
    writeFileSync(policy, `# who is followed\nlog ${inPolicy!.verifierKey}\nquorum none\n`);
    await start(directory, port, ['--policy', policy, '--log', named!.verifierKey]);
    const witness = await addressOf(directory, port);
    const results = await Promise.all(
      [inPolicy!, named!, neither!].map(({ noteOf, proofFrom }) =>
        submitCheckpoint({ witness, note: noteOf(5), rememberedSize: 0, proofFrom }),
      ),
    );
    expect(results).toMatchObject([
      { kind: 'cosigned' },
      { kind: 'cosigned' },
      { kind: 'failed', reason: 'unknown_origin' },
    ]);
  });

  it.each([
    [[], 'must be told which logs'],
    [['--log', 'nonsense'], 'is no verifier key of a log'],
    [['--log-key', LOG_KEY], 'the same number of times'],
    [['--log-key', 'AAAA', '--log-origin', 'a.example'], 'is not the base64 of an Ed25519 public key'],
    [['--log-key', LOG_KEY, '--log-origin', 'a.example/'], 'is not what origins begin with'],
    [['--policy', '/nowhere/policy'], '--policy /nowhere/policy'],
  ])('does not start with %j', async (args, message) => {
    const ended = await runProgram(
      ['witness', '--directory', newDirectory(), '--name', NAME, ...args],
      SETTINGS,
    );
    expect(ended.code).toBe(1);
    expect(ended.output).toContain(message);
  });

  it('names the wrong line of a policy', async () => {
    const directory = newDirectory();
    const policy = join(directory, 'policy');
    writeFileSync(policy, '\nlog nonsense\nquorum none\n');
    const ended = await runProgram(['witness', '--directory', directory, '--policy', policy], SETTINGS);
    expect(ended.output).toContain(`--policy ${policy}: The policy is invalid: line 2:`);
  });

  it('makes its key once, and shows no secret', async () => {
    const directory = newDirectory();
    const run = (...args: string[]) => runProgram(['witness', '--directory', directory, ...args], SETTINGS);
    expect((await run('--print-key')).output).toContain('needs a name');
    const [first, second] = [await run('--print-key', '--name', NAME), await run('--print-key')];
    expect(first.stdout).toMatch(/^witness\.example\.test\/w1\+[\da-f]{8}\+\S{44}\n$/);
    expect(second.stdout).toBe(first.stdout);
    const { seed } = JSON.parse(readFileSync(join(directory, 'key.json'), 'utf8'));
    expect(first.output).not.toContain(seed);
    expect(execFileSync('stat', ['-c', '%a', join(directory, 'key.json')], { encoding: 'utf8' })).toBe(
      '600\n',
    );
  });
});
