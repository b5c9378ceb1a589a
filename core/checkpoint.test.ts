import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { base64Decode, base64Encode, hexDecode, hexEncode } from './bytes.ts';
import {
  checkpointText,
  encodeVerifierKey,
  keyId,
  openNote,
  parseCheckpoint,
  parseForeignCheckpoint,
  parseVerifierKey,
  type SigningKey,
  signNote,
  verifierKeyOf,
  verifyNote,
  workspaceOf,
} from './checkpoint.ts';
import { ImmutableError } from './errors.ts';

const VECTOR = vectors.checkpoint;
const SIGNER: SigningKey = { name: VECTOR.key_name, seed: hexDecode(VECTOR.private_key_seed)! };
const KEY = verifierKeyOf(SIGNER);
const OTHER: SigningKey = { name: 'witness.example.test', seed: new Uint8Array(32).fill(7) };
const ROOT = base64Decode(VECTOR.text.split('\n')[2]!)!;

describe('the vector', () => {
  test('text', () => {
    expect(checkpointText(VECTOR.origin, 24, ROOT)).toBe(VECTOR.text);
    expect(parseCheckpoint(VECTOR.text)).toEqual({ origin: VECTOR.origin, size: 24, root: ROOT });
    expect(workspaceOf(parseCheckpoint(VECTOR.text)!)).toBe('ws_52b5d804c0af9005');
  });

  test('keys', () => {
    expect(hexEncode(KEY.publicKey)).toBe(VECTOR.public_key);
    expect(hexEncode(keyId(KEY))).toBe(VECTOR.verifier_key.split('+')[1]);
    expect(encodeVerifierKey(KEY)).toBe(VECTOR.verifier_key);
    expect(parseVerifierKey(VECTOR.verifier_key)).toEqual(KEY);
  });

  test('note', () => {
    expect(signNote(VECTOR.text, SIGNER)).toBe(VECTOR.note);
    expect(verifyNote(VECTOR.note, [KEY])).toEqual({ ok: true, text: VECTOR.text, signedBy: [KEY] });
  });
});

test('the note that the specification of signed notes shows', () => {
  // From c2sp.org/tlog-checkpoint; its key is not given, so only the form can be checked.
  const note =
    'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n' +
    '— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n';
  const opened = openNote(note);
  expect(parseCheckpoint(opened!.text)).toMatchObject({
    origin: 'example.com/behind-the-sofa',
    size: 20852163,
  });
  expect(opened!.signatures).toHaveLength(1);
});

describe('checkpoint texts', () => {
  const [origin, size, root] = VECTOR.text.split('\n') as [string, string, string];

  test.each([
    [`${origin}\n${size}\n${root}`],
    [`${origin}\n${size}\n${root}\n\n`],
    [`${origin}\n${size}\n${root}\nextension\n`],
    [`\n${size}\n${root}\n`],
    [`two words\n${size}\n${root}\n`],
    [`a+b\n${size}\n${root}\n`],
    [`${origin}\n024\n${root}\n`],
    [`${origin}\n+24\n${root}\n`],
    [`${origin}\n-1\n${root}\n`],
    [`${origin}\n2.5\n${root}\n`],
    [`${origin}\n1e3\n${root}\n`],
    [`${origin}\n0x18\n${root}\n`],
    [`${origin}\n24 \n${root}\n`],
    [`${origin}\n\n${root}\n`],
    [`${origin}\n9007199254740992\n${root}\n`],
    [`${origin}\n${size}\n${root.slice(0, -1)}\n`],
    [`${origin}\n${size}\n${root.replace('8=', '9=')}\n`],
    [`${origin}\n${size}\n${base64Encode(ROOT.subarray(1))}\n`],
    [`${origin}\n${size}\n${hexEncode(ROOT)}\n`],
    [`${origin}\r\n${size}\r\n${root}\r\n`],
    [''],
  ])('%j is none', (text) => {
    expect(parseCheckpoint(text)).toBeNull();
  });

  test('of size 0 and of the largest size are read', () => {
    for (const leaves of [0, Number.MAX_SAFE_INTEGER]) {
      expect(parseCheckpoint(checkpointText(origin, leaves, ROOT))?.size).toBe(leaves);
    }
  });

  test('that no one could read are not made', () => {
    expect(() => checkpointText('two words', 1, ROOT)).toThrow(ImmutableError);
    expect(() => checkpointText('a\nb', 1, ROOT)).toThrow(ImmutableError);
    expect(() => checkpointText(origin, -1, ROOT)).toThrow(ImmutableError);
    expect(() => checkpointText(origin, 1.5, ROOT)).toThrow(ImmutableError);
    expect(() => checkpointText(origin, 1, ROOT.subarray(1))).toThrow(ImmutableError);
  });
});

describe('checkpoint texts of other logs', () => {
  const [, size, root] = VECTOR.text.split('\n') as [string, string, string];

  test('may have extension lines, and any line as their origin', () => {
    const checkpoint = { size: 24, root: ROOT };
    expect(parseForeignCheckpoint(VECTOR.text)).toEqual({ ...checkpoint, origin: VECTOR.origin });
    expect(parseForeignCheckpoint(`two words + more\n${size}\n${root}\n`)).toEqual({
      ...checkpoint,
      origin: 'two words + more',
    });
    expect(parseForeignCheckpoint(`${VECTOR.text}one\ntwo\n`)).toEqual({
      ...checkpoint,
      origin: VECTOR.origin,
    });
  });

  test.each([
    [''],
    [`\n${size}\n${root}\n`],
    [`o\n${size}\n${root}`],
    [`o\n${size}\n${root}\n\n`],
    [`o\n${size}\n${root}\n\nextension\n`],
    [`o\n${size}\n${root}\nextension`],
    [`o\n024\n${root}\n`],
    [`o\n1e3\n${root}\n`],
    [`o\n\n${root}\n`],
    [`o\n9007199254740992\n${root}\n`],
    [`o\n${size}\n${root.slice(0, -1)}\n`],
    [`o\n${size}\n${base64Encode(ROOT.subarray(1))}\n`],
    [`o\n${size}\n`],
  ])('%j is none', (text) => {
    expect(parseForeignCheckpoint(text)).toBeNull();
  });
});

describe('verifier keys', () => {
  const [name, id, key] = VECTOR.verifier_key.split('+') as [string, string, string];

  test.each([
    [''],
    [`${name}+${id}`],
    [`+${id}+${key}`],
    [`${name}+${id.toUpperCase()}+${key}`],
    [`${name}+00000000+${key}`],
    [`${name}x+${id}+${key}`],
    [`${name}+${id}+${key}\n`],
    [`${name}+${id}+${key.slice(0, -4)}`],
    [`${name}+${id}+${base64Encode(Uint8Array.of(2, ...KEY.publicKey))}`],
    [`two words+${id}+${key}`],
    [`${name}+${id}+${id}+${key}`],
  ])('%j is none', (text) => {
    expect(parseVerifierKey(text)).toBeNull();
  });

  test('whose base64 holds a plus are read', () => {
    const withPlus = { name: 'n', publicKey: new Uint8Array(32).fill(0xfb) };
    const text = encodeVerifierKey(withPlus);
    expect(text.split('+').length).toBeGreaterThan(3);
    expect(parseVerifierKey(text)).toEqual(withPlus);
  });
});

describe('notes', () => {
  const [signatureLine] = VECTOR.note.split('\n').slice(4) as [string];
  const cosignature = signNote(VECTOR.text, OTHER).slice(VECTOR.text.length + 1);

  test('with more signatures verify by any key that is trusted, and tell which', () => {
    const note = VECTOR.note + cosignature;
    const both = [KEY, verifierKeyOf(OTHER)];
    expect(verifyNote(note, [KEY])).toEqual({ ok: true, text: VECTOR.text, signedBy: [KEY] });
    expect(verifyNote(note, both)).toEqual({ ok: true, text: VECTOR.text, signedBy: both });
  });

  test('signed by no trusted key are of an unknown signer', () => {
    expect(verifyNote(VECTOR.note, [])).toEqual({ ok: false, reason: 'unknown_signer' });
    expect(verifyNote(VECTOR.note, [verifierKeyOf(OTHER)])).toEqual({ ok: false, reason: 'unknown_signer' });
    expect(verifyNote(VECTOR.note, [{ ...KEY, name: 'another' }])).toEqual({
      ok: false,
      reason: 'unknown_signer',
    });
    const sameName = verifierKeyOf({ ...OTHER, name: KEY.name });
    expect(verifyNote(VECTOR.note, [sameName])).toEqual({ ok: false, reason: 'unknown_signer' });
  });

  test('with one signature of a trusted key that does not hold are refused', () => {
    const flipped = signatureLine.replace('yonkXV7i', 'yonkXV7j');
    const bad = `${VECTOR.text}\n${flipped}\n`;
    expect(verifyNote(bad, [KEY])).toEqual({ ok: false, reason: 'bad_signature' });
    const good = bad + cosignature;
    expect(verifyNote(good, [KEY, verifierKeyOf(OTHER)])).toEqual({ ok: false, reason: 'bad_signature' });
    expect(verifyNote(`${VECTOR.note}${flipped}\n`, [KEY])).toEqual({ ok: false, reason: 'bad_signature' });
    expect(verifyNote(VECTOR.note.replace('\n24\n', '\n25\n'), [KEY])).toEqual({
      ok: false,
      reason: 'bad_signature',
    });
  });

  test('with a signature of another length are refused', () => {
    const short = base64Encode(base64Decode(signatureLine.split(' ')[2]!)!.subarray(0, 67));
    const note = `${VECTOR.text}\n— ${KEY.name} ${short}\n`;
    expect(verifyNote(note, [KEY])).toEqual({ ok: false, reason: 'bad_signature' });
  });

  test('an all-zero signature and a low-order key prove nothing', () => {
    const lowOrder = { name: 'n', publicKey: Uint8Array.of(1, ...new Uint8Array(31)) };
    const signature = new Uint8Array(64);
    signature[0] = 1;
    const note = `text\n\n— n ${base64Encode(Uint8Array.of(...keyId(lowOrder), ...signature))}\n`;
    expect(verifyNote(note, [lowOrder])).toEqual({ ok: false, reason: 'bad_signature' });
  });

  test('may hold empty lines in their text: the last one ends it', () => {
    const text = 'first\n\nsecond\n';
    const note = signNote(text, SIGNER);
    expect(verifyNote(note, [KEY])).toMatchObject({ ok: true, text });
  });

  test('with sixteen signatures are read, with a hundred and one not', () => {
    expect(openNote(`${VECTOR.text}\n${`${signatureLine}\n`.repeat(16)}`)?.signatures).toHaveLength(16);
    expect(openNote(`${VECTOR.text}\n${`${signatureLine}\n`.repeat(101)}`)).toBeNull();
  });

  test.each([
    ['nothing', ''],
    ['no signature', VECTOR.text],
    ['no signature after the empty line', `${VECTOR.text}\n`],
    ['no empty line', `${VECTOR.text}${signatureLine}\n`],
    ['no last newline', VECTOR.note.slice(0, -1)],
    ['another dash', VECTOR.note.replace('—', '–')],
    ['a hyphen', VECTOR.note.replace('— ', '- ')],
    ['two spaces', VECTOR.note.replace('— ', '—  ')],
    ['a fourth word', VECTOR.note.replace(/\n$/, ' x\n')],
    ['a plus in the name', VECTOR.note.replace('— log', '— +log')],
    ['a no-break space in the name', VECTOR.note.replace('— log', '— \u00a0log')],
    ['a key id alone', `${VECTOR.text}\n— n ${base64Encode(new Uint8Array(4))}\n`],
    ['broken base64', VECTOR.note.replace('UTUk=', 'UTU=').replace('kFwQs=', 'kFwQt=')],
    ['an empty line behind', `${VECTOR.note}\n`],
    ['a carriage return', VECTOR.note.replaceAll('\n', '\r\n')],
    ['a tab', VECTOR.note.replace('24', '\t24')],
    ['a lone surrogate', VECTOR.note.replace('24', '\ud800')],
    ['more than a MiB', `${'x'.repeat(1024 * 1024)}\n\n${signatureLine}\n`],
  ])('with %s are malformed', (_, note) => {
    expect(openNote(note)).toBeNull();
    expect(verifyNote(note, [KEY])).toEqual({ ok: false, reason: 'malformed' });
  });

  test.each(['', 'no newline', 'tab\t\n', 'cr\r\n', '\ud800\n'])('of the text %j are not made', (text) => {
    expect(() => signNote(text, SIGNER)).toThrow(ImmutableError);
  });

  test('by a key with an impossible name are not made', () => {
    expect(() => signNote(VECTOR.text, { ...SIGNER, name: 'two words' })).toThrow(ImmutableError);
  });
});
