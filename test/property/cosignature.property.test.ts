import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { signNote } from '../../core/checkpoint.ts';
import { cosign, encodeCosignerKey, parseCosignerKey, verifyCosignatures } from '../../core/cosignature.ts';
import { propertyRuns } from '../support/property-runs.ts';

/**
 * Cosignatures as node:crypto makes them, straight from c2sp.org/tlog-cosignature: nothing of core/ takes part.
 * `npx vitest run --project unit test/property/cosignature -u` writes the vectors anew.
 */
function nodeKey(seed: Uint8Array): { secret: KeyObject; publicKey: Buffer } {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const secret = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return {
    secret,
    publicKey: createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32),
  };
}

function nodeKeyId(name: string, type: number, publicKey: Buffer): Buffer {
  const hashed = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), publicKey]);
  return createHash('sha256').update(hashed).digest().subarray(0, 4);
}

function nodeVerifierKey(name: string, type: number, publicKey: Buffer): string {
  const typed = Buffer.concat([Buffer.of(type), publicKey]).toString('base64');
  return `${name}+${nodeKeyId(name, type, publicKey).toString('hex')}+${typed}`;
}

function nodeMessage(text: string, time: bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${time}\n${text}`);
}

function nodeCosignatureLine(text: string, name: string, seed: Uint8Array, time: bigint): string {
  const { secret, publicKey } = nodeKey(seed);
  const timestamp = Buffer.alloc(8);
  timestamp.writeBigUInt64BE(time);
  const signature = sign(null, nodeMessage(text, time), secret);
  const data = Buffer.concat([nodeKeyId(name, 4, publicKey), timestamp, signature]);
  return `— ${name} ${data.toString('base64')}\n`;
}

const LOG = { name: 'log.example.test/ws_1', seed: Buffer.alloc(32, 0x11) };
const WITNESSES = [
  { name: 'witness.example.test/w1', seed: Buffer.alloc(32, 0x22) },
  { name: 'zeuge.example.test/ä', seed: Buffer.alloc(32, 0x33) },
];
const TEXTS = [
  ['a checkpoint', 'log.example.test/ws_1\n24\nHbtN2kB8rd8Bnte4IkEk/7zrkDaJHdyBeI1BtB2y/Q8=\n'],
  ['an empty tree', 'log.example.test/ws_1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n'],
  [
    'extension lines',
    'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nand more\n',
  ],
] as const;
/** Beside a usual time: the first, one beyond 32 bits, and the last that fits a double. */
const TIMES = [1_679_315_147n, 0n, 2n ** 33n + 5n, 2n ** 53n - 1n];

function vectors(): string {
  const key = ({ name, seed }: (typeof WITNESSES)[number]) => {
    const { publicKey } = nodeKey(seed);
    return {
      name,
      seed: seed.toString('hex'),
      public_key: publicKey.toString('hex'),
      verifier_key: nodeVerifierKey(name, 4, publicKey),
      verifier_key_as_log: nodeVerifierKey(name, 1, publicKey),
    };
  };
  const cosignatures = TEXTS.flatMap(([about, text]) =>
    WITNESSES.flatMap(({ name, seed }) =>
      TIMES.map((time) => ({
        about,
        text,
        cosigner: name,
        timestamp: Number(time),
        line: nodeCosignatureLine(text, name, seed, time),
      })),
    ),
  );
  const about = 'C2SP tlog-cosignature with Ed25519, made by node:crypto';
  return `${JSON.stringify({ about, cosigners: WITNESSES.map(key), cosignatures }, null, 1)}\n`;
}

test('the vectors are those that node:crypto makes', async () => {
  await expect(vectors()).toMatchFileSnapshot('../vectors/cosignature-v1.json');
});

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
const names = fc.stringMatching(/^[a-z0-9./-]{1,40}$/);
const times = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const texts = fc
  .tuple(names, fc.nat(), fc.uint8Array({ minLength: 32, maxLength: 32 }))
  .map(([origin, size, root]) => `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`);

test('what we cosign is byte for byte what node:crypto does, and it verifies there', () => {
  fc.assert(
    fc.property(texts, names, seeds, times, (text, name, seed, time) => {
      const line = cosign(text, { name, seed }, time);
      expect(line).toBe(nodeCosignatureLine(text, name, seed, BigInt(time)));
      const data = Buffer.from(line.trim().split(' ')[2]!, 'base64');
      const publicKey = createPublicKey(nodeKey(seed).secret);
      expect(verify(null, nodeMessage(text, BigInt(time)), publicKey, data.subarray(12))).toBe(true);
    }),
    propertyRuns(50),
  );
});

test('what node:crypto cosigns verifies here, and not with one bit changed', () => {
  fc.assert(
    fc.property(texts, names, seeds, times, fc.nat({ max: 71 * 8 }), (text, name, seed, time, bit) => {
      const publicKey = new Uint8Array(nodeKey(seed).publicKey);
      const note = signNote(text, LOG) + nodeCosignatureLine(text, name, seed, BigInt(time));
      expect(verifyCosignatures(note, [{ name, publicKey }])).toEqual({
        ok: true,
        cosignatures: [{ cosigner: { name, publicKey }, timestampSeconds: time }],
      });
      const data = Buffer.from(note.trim().split(' ').at(-1)!, 'base64');
      const at = 4 + Math.floor(bit / 8);
      data[at] = data[at]! ^ (1 << (bit % 8));
      const changed = `${signNote(text, LOG)}— ${name} ${data.toString('base64')}\n`;
      expect(verifyCosignatures(changed, [{ name, publicKey }])).toMatchObject({ ok: false });
    }),
    propertyRuns(50),
  );
});

test('keys are written as node:crypto would', () => {
  fc.assert(
    fc.property(names, seeds, (name, seed) => {
      const publicKey = new Uint8Array(nodeKey(seed).publicKey);
      const text = nodeVerifierKey(name, 4, nodeKey(seed).publicKey);
      expect(encodeCosignerKey({ name, publicKey })).toBe(text);
      expect(parseCosignerKey(text)).toEqual({ name, publicKey });
    }),
    propertyRuns(50),
  );
});
