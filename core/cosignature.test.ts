import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/cosignature-v1.json' with { type: 'json' };
import { base64Decode, base64Encode, hexDecode, hexEncode } from './bytes.ts';
import {
  openNote,
  parseVerifierKey,
  type SigningKey,
  signNote,
  verifierKeyOf,
  verifyNote,
} from './checkpoint.ts';
import { cosign, encodeCosignerKey, parseCosignerKey, verifyCosignatures } from './cosignature.ts';
import { ImmutableError } from './errors.ts';

const LOG: SigningKey = { name: 'log.example.test/ws_1', seed: new Uint8Array(32).fill(1) };
const SIGNERS = new Map(
  vectors.cosigners.map(({ name, seed }): [string, SigningKey] => [name, { name, seed: hexDecode(seed)! }]),
);
const [FIRST, SECOND] = [...SIGNERS.values()] as [SigningKey, SigningKey];
const [VECTOR] = vectors.cosignatures;
if (VECTOR === undefined) throw new Error('the vectors have changed');
const { text: TEXT, line: LINE, timestamp: TIME } = VECTOR;
const NOTE = signNote(TEXT, LOG);

describe('vectors', () => {
  test.each(vectors.cosigners)('the key of $name', ({ name, seed, public_key, verifier_key }) => {
    const key = verifierKeyOf({ name, seed: hexDecode(seed)! });
    expect(hexEncode(key.publicKey)).toBe(public_key);
    expect(encodeCosignerKey(key)).toBe(verifier_key);
    expect(parseCosignerKey(verifier_key)).toEqual(key);
  });

  test.each(vectors.cosigners)('the key of $name is no key of a log, nor the other way', (key) => {
    expect(parseVerifierKey(key.verifier_key)).toBeNull();
    expect(parseVerifierKey(key.verifier_key_as_log)).not.toBeNull();
    expect(parseCosignerKey(key.verifier_key_as_log)).toBeNull();
  });

  test.each(vectors.cosignatures)('$about, by $cosigner at $timestamp', (vector) => {
    const signer = SIGNERS.get(vector.cosigner)!;
    expect(cosign(vector.text, signer, vector.timestamp)).toBe(vector.line);
    const note = signNote(vector.text, LOG) + vector.line;
    expect(verifyCosignatures(note, [verifierKeyOf(signer)])).toEqual({
      ok: true,
      cosignatures: [{ cosigner: verifierKeyOf(signer), timestampSeconds: vector.timestamp }],
    });
  });
});

test('the note that the specification shows', () => {
  // From c2sp.org/tlog-cosignature; the keys are not given, so form and time can be checked.
  const note =
    'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n' +
    '— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n' +
    '— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n';
  const [, cosignature] = openNote(note)!.signatures;
  expect(cosignature).toMatchObject({ name: 'witness.example.com/w1' });
  expect(hexEncode(cosignature!.keyId)).toBe('8d66cf3f');
  expect(cosignature!.signature).toHaveLength(72);
  expect(hexEncode(cosignature!.signature.subarray(0, 8))).toBe(
    (1_679_315_147).toString(16).padStart(16, '0'),
  );
  // A key of that name but another id: what it did not sign is ignored, not refused.
  expect(verifyCosignatures(note, [verifierKeyOf({ ...FIRST, name: 'witness.example.com/w1' })])).toEqual({
    ok: true,
    cosignatures: [],
  });
});

describe('cosignatures', () => {
  const key = verifierKeyOf(FIRST);
  const other = verifierKeyOf(SECOND);
  const bad = { ok: false, reason: 'bad_signature', cosigner: key };

  test('of several witnesses are told apart, in the order of the keys', () => {
    const note = NOTE + LINE + cosign(TEXT, SECOND, 7);
    expect(verifyCosignatures(note, [other, key])).toEqual({
      ok: true,
      cosignatures: [
        { cosigner: other, timestampSeconds: 7 },
        { cosigner: key, timestampSeconds: TIME },
      ],
    });
    expect(verifyCosignatures(note, [])).toEqual({ ok: true, cosignatures: [] });
    expect(verifyNote(note, [verifierKeyOf(LOG)]).ok).toBe(true);
  });

  test('made twice count once, with the later time', () => {
    const note = NOTE + cosign(TEXT, FIRST, 9) + cosign(TEXT, FIRST, 8);
    expect(verifyCosignatures(note, [key])).toMatchObject({ cosignatures: [{ timestampSeconds: 9 }] });
  });

  test('of another text, time or key do not hold', () => {
    const grown = TEXT.replace('\n24\n', '\n25\n');
    expect(verifyCosignatures(signNote(grown, LOG) + LINE, [key])).toEqual(bad);
    const data = base64Decode(LINE.trim().split(' ')[2]!)!;
    const later = data.with(11, data[11]! + 1);
    expect(verifyCosignatures(`${NOTE}— ${key.name} ${base64Encode(later)}\n`, [key])).toEqual(bad);
    const sameName = { ...SECOND, name: key.name };
    expect(verifyCosignatures(NOTE + cosign(TEXT, sameName, TIME), [key])).toMatchObject({
      cosignatures: [],
    });
  });

  test('one of which does not hold refuse the note', () => {
    const forged = cosign(TEXT.replace('24', '25'), FIRST, TIME);
    expect(verifyCosignatures(NOTE + LINE + forged, [key])).toEqual(bad);
    expect(verifyCosignatures(NOTE + cosign(TEXT, SECOND, 7) + forged, [other, key])).toEqual(bad);
  });

  test('that are a plain signature by the same key do not count', () => {
    expect(verifyCosignatures(NOTE + signNote(TEXT, FIRST).slice(TEXT.length + 1), [key])).toEqual({
      ok: true,
      cosignatures: [],
    });
  });

  test('of another length, or of a time that no double holds, do not hold', () => {
    const data = base64Decode(LINE.trim().split(' ')[2]!)!;
    for (const wrong of [data.slice(0, 8), data.slice(0, -1), Uint8Array.of(...data, 0), data.with(4, 1)]) {
      expect(verifyCosignatures(`${NOTE}— ${key.name} ${base64Encode(wrong)}\n`, [key])).toEqual(bad);
    }
  });

  test('of no note are malformed', () => {
    expect(verifyCosignatures(TEXT, [key])).toEqual({ ok: false, reason: 'malformed' });
    expect(verifyCosignatures(NOTE + LINE.slice(0, -1), [key])).toEqual({ ok: false, reason: 'malformed' });
  });

  test.each([-1, 0.5, Number.NaN, 2 ** 53])('at %d are not made', (time) => {
    expect(() => cosign(TEXT, FIRST, time)).toThrow(ImmutableError);
  });
});
