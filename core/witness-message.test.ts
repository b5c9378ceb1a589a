import { describe, expect, test } from 'vitest';
import { base64Encode } from './bytes.ts';
import { checkpointText, type SigningKey, signNote, verifierKeyOf } from './checkpoint.ts';
import { cosign, cosignerKeyId } from './cosignature.ts';
import { ImmutableError } from './errors.ts';
import {
  encodeAddCheckpoint,
  encodeSize,
  parseAddCheckpoint,
  parseSignatureLines,
  parseSize,
} from './witness-message.ts';

const LOG: SigningKey = { name: 'log.example.test/ws_1', seed: new Uint8Array(32).fill(1) };
const WITNESS: SigningKey = { name: 'witness.example.test', seed: new Uint8Array(32).fill(2) };
const HASH = new Uint8Array(32).fill(7);
const TEXT = checkpointText(LOG.name, 24, HASH);
const NOTE = signNote(TEXT, LOG);
const LINE = cosign(TEXT, WITNESS, 1_679_315_147);

/** From c2sp.org/tlog-witness. */
const EXAMPLE = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`;

describe('a request', () => {
  test('as the specification shows it is read, and written the same', () => {
    const request = parseAddCheckpoint(EXAMPLE);
    expect(request).toMatchObject({
      oldSize: 20852014,
      checkpoint: { origin: 'example.com/behind-the-sofa', size: 20852163 },
    });
    expect(request?.consistencyProof).toHaveLength(4);
    expect(request?.note.startsWith('example.com/')).toBe(true);
    expect(encodeAddCheckpoint(request!)).toBe(EXAMPLE);
  });

  test('for the first checkpoint has no proof', () => {
    const body = encodeAddCheckpoint({ oldSize: 0, consistencyProof: [], note: NOTE });
    expect(body).toBe(`old 0\n\n${NOTE}`);
    expect(parseAddCheckpoint(body)).toMatchObject({ oldSize: 0, consistencyProof: [], note: NOTE });
  });

  test('has at most 63 hashes', () => {
    const proofOf = (length: number) => Array.from({ length }, () => HASH);
    const longest = encodeAddCheckpoint({ oldSize: 1, consistencyProof: proofOf(63), note: NOTE });
    expect(parseAddCheckpoint(longest)?.consistencyProof).toHaveLength(63);
    expect(() => encodeAddCheckpoint({ oldSize: 1, consistencyProof: proofOf(64), note: NOTE })).toThrow(
      ImmutableError,
    );
    expect(parseAddCheckpoint(longest.replace('\n', `\n${base64Encode(HASH)}\n`))).toBeNull();
  });

  test('may hold a note whose text has extension lines', () => {
    const note = signNote(`${TEXT}more\n`, LOG);
    expect(parseAddCheckpoint(`old 3\n${base64Encode(HASH)}\n\n${note}`)).toMatchObject({
      oldSize: 3,
      checkpoint: { size: 24 },
    });
  });

  test.each([
    ['nothing', ''],
    ['no old size', `\n${NOTE}`],
    ['no old size but a proof', `${base64Encode(HASH)}\n\n${NOTE}`],
    ['no blank line', `old 0\n${NOTE}`],
    ['two blank lines', `old 0\n\n\n${NOTE}`],
    ['a leading zero', `old 03\n\n${NOTE}`],
    ['a sign', `old +3\n\n${NOTE}`],
    ['a negative size', `old -3\n\n${NOTE}`],
    ['no size', `old \n\n${NOTE}`],
    ['two spaces', `old  3\n\n${NOTE}`],
    ['a space behind', `old 3 \n\n${NOTE}`],
    ['another word', `Old 3\n\n${NOTE}`],
    ['a size no double holds', `old 9007199254740992\n\n${NOTE}`],
    ['carriage returns', `old 0\r\n\r\n${NOTE}`],
    ['a short hash', `old 3\n${base64Encode(HASH.subarray(1))}\n\n${NOTE}`],
    ['a hash in hex', `old 3\n${'07'.repeat(32)}\n\n${NOTE}`],
    ['a hash without padding', `old 3\n${base64Encode(HASH).slice(0, -1)}\n\n${NOTE}`],
    ['stray bits in a hash', `old 3\n${base64Encode(HASH).replace(/c=$/, 'd=')}\n\n${NOTE}`],
    ['no note', 'old 0\n\n'],
    ['a text without signature', `old 0\n\n${TEXT}`],
    ['a note that is no checkpoint', `old 0\n\n${signNote('some text\n', LOG)}`],
    ['something behind', `old 0\n\n${NOTE}x`],
  ])('with %s is none', (_, body) => {
    expect(parseAddCheckpoint(body)).toBeNull();
  });
});

describe('an answer with a size', () => {
  test.each([0, 1, Number.MAX_SAFE_INTEGER])('of %d', (size) => {
    expect(parseSize(encodeSize(size))).toBe(size);
  });

  test.each([
    '',
    '\n',
    '7',
    '7\n\n',
    '07\n',
    ' 7\n',
    '7 \n',
    '-7\n',
    '7.0\n',
    '7e2\n',
    '9007199254740992\n',
    '7\r\n',
  ])('%j is none', (body) => {
    expect(parseSize(body)).toBeNull();
  });
});

describe('an answer with signatures', () => {
  test('is read', () => {
    const [own, ...others] = parseSignatureLines(LINE, TEXT)!;
    expect(own).toMatchObject({ name: WITNESS.name, keyId: cosignerKeyId(verifierKeyOf(WITNESS)) });
    expect(own?.signature).toHaveLength(72);
    expect(others).toEqual([]);
    expect(parseSignatureLines(LINE.repeat(16), TEXT)).toHaveLength(16);
  });

  test('of the specification is read', () => {
    const example =
      '— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n' +
      '— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n' +
      '— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n';
    expect(parseSignatureLines(example, TEXT)).toHaveLength(3);
  });

  test.each([
    ['nothing', ''],
    ['no last newline', LINE.slice(0, -1)],
    ['a text before', `text\n\n${LINE}`],
    ['a blank line before', `\n${LINE}`],
    ['a whole note', `${NOTE}${LINE}`],
    ['a line that is none', `${LINE}thank you\n`],
    ['JSON', '{"error":"no"}'],
    ['a hundred and one', LINE.repeat(101)],
  ])('that is %s is none', (_, body) => {
    expect(parseSignatureLines(body, TEXT)).toBeNull();
  });
});
