import { describe, expect, test } from 'vitest';
import { base64Encode, utf8Encode } from './bytes.ts';
import { checkpointText, encodeVerifierKey, type SigningKey, signNote, verifierKeyOf } from './checkpoint.ts';
import { cosign, encodeCosignerKey } from './cosignature.ts';
import { ImmutableError } from './errors.ts';
import { checkPolicy, isSatisfied, type Policy, parsePolicy, quorumGaps } from './policy.ts';

const LOG = signer('log.example.test/ws_1', 1);
const OTHER_LOG = signer('log.example.test/ws_2', 2);
const X1 = signer('x.example.test/1', 11);
const X2 = signer('x.example.test/2', 12);
const X3 = signer('x.example.test/3', 13);
const Y1 = signer('y.example.test/1', 21);
const Y2 = signer('y.example.test/2', 22);

const LOG_KEY = encodeVerifierKey(verifierKeyOf(LOG));
const [X1_KEY, X2_KEY, X3_KEY, Y1_KEY, Y2_KEY] = [X1, X2, X3, Y1, Y2].map((one) =>
  encodeCosignerKey(verifierKeyOf(one)),
);

function signer(name: string, byte: number): SigningKey {
  return { name, seed: new Uint8Array(32).fill(byte) };
}

/** The example of the specification, with keys. */
const TWO_LEVELS = `
log ${LOG_KEY} https://log.example.test/

witness X1 ${X1_KEY} https://x.example.test/1/
witness X2 ${X2_KEY}
witness X3 ${X3_KEY}
group X-witnesses 2 X1 X2 X3

witness Y1 ${Y1_KEY}
  # with a comment, and tabs
\twitness\tY2 \t${Y2_KEY}\t
group Y-witnesses any Y1 Y2

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

describe('a policy', () => {
  test('with two levels of groups is read', () => {
    const policy = parsePolicy(TWO_LEVELS);
    expect(policy.logs).toEqual([{ key: verifierKeyOf(LOG), url: 'https://log.example.test/' }]);
    expect(policy.witnesses.map(({ name, url }) => [name, url])).toEqual([
      ['X1', 'https://x.example.test/1/'],
      ['X2', undefined],
      ['X3', undefined],
      ['Y1', undefined],
      ['Y2', undefined],
    ]);
    expect(policy.witnesses[4]?.key).toEqual(verifierKeyOf(Y2));
    expect(policy.quorum).toMatchObject({
      kind: 'group',
      name: 'X-and-Y',
      threshold: 2,
      members: [
        { name: 'X-witnesses', threshold: 2, members: [{ name: 'X1' }, { name: 'X2' }, { name: 'X3' }] },
        { name: 'Y-witnesses', threshold: 1, members: [{ name: 'Y1' }, { name: 'Y2' }] },
      ],
    });
  });

  test('may name nothing but the quorum', () => {
    expect(parsePolicy('quorum none\n')).toEqual({ logs: [], witnesses: [], quorum: { kind: 'none' } });
  });

  test('takes 256 logs, witnesses and groups, and no more', () => {
    const many = (count: number, line: (index: number) => string) =>
      Array.from({ length: count }, (_, index) => `${line(index)}\n`).join('');
    const seeded = (name: string, index: number): SigningKey => ({
      name,
      seed: Uint8Array.of(index >> 8, index & 255, ...new Uint8Array(30)),
    });
    const log = (index: number) => `log ${encodeVerifierKey(verifierKeyOf(seeded('l', index)))}`;
    const witness = (index: number) =>
      `witness w${index} ${encodeCosignerKey(verifierKeyOf(seeded('w', index)))}`;
    const group = (index: number) => `group g${index} 1 ${index === 0 ? 'w0' : `g${index - 1}`}`;
    const full = many(256, log) + many(256, witness) + many(256, group);
    const policy = parsePolicy(`${full}quorum g255\n`);
    expect(isSatisfied(policy.quorum, new Set(['w0']))).toBe(true);
    expect(isSatisfied(policy.quorum, new Set(['w1']))).toBe(false);
    for (const [line, what] of [
      [log(256), 'logs'],
      [witness(256), 'witnesses'],
      [group(256), 'groups'],
    ]) {
      expect(() => parsePolicy(`${full}${line}\nquorum g255\n`)).toThrow(
        `line 769: there are more than 256 ${what}`,
      );
    }
  });

  test('keeps names as octets: two spellings are two names, and what is not UTF-8 is one too', () => {
    const kelvin = parsePolicy(`witness K ${X1_KEY}\nwitness \u212a ${X2_KEY}\nquorum \u212a\n`);
    expect(kelvin.quorum).toEqual({ kind: 'witness', name: '\u212a' });

    const latin1 = Uint8Array.of(
      ...utf8Encode('# caf'),
      0xe9,
      ...utf8Encode(`\nwitness caf`),
      0xe9,
      ...utf8Encode(` ${X1_KEY}\nwitness caf\\xe9 ${X2_KEY}\nquorum caf`),
      0xe9,
      0x0a,
    );
    const { witnesses, quorum } = parsePolicy(latin1);
    expect(witnesses.map(({ name }) => name)).toEqual(['caf\\xe9', 'caf\\x5cxe9']);
    expect(quorum).toEqual({ kind: 'witness', name: 'caf\\xe9' });
  });

  test.each([
    ['nothing', '', 'it has no quorum line'],
    ['no quorum', `log ${LOG_KEY}\n`, 'it has no quorum line'],
    ['no last newline', `log ${LOG_KEY}\nquorum none`, 'line 2: it does not end with a newline'],
    ['two quorums', 'quorum none\n\nquorum none\n', 'line 3: there is a quorum line above'],
    ['a carriage return', 'quorum none\r\n', 'line 1: octet 0x0d is not allowed'],
    ['a null octet in a comment', '# \0\nquorum none\n', 'line 1: octet 0x00 is not allowed'],
    ['a DEL', '# \x7f\nquorum none\n', 'line 1: octet 0x7f is not allowed'],
    ['another word', 'Quorum none\n', 'line 1: "Quorum" is none of log, witness, group, quorum'],
    ['a comment behind', 'quorum none # really\n', 'line 1: the quorum is written'],
    ['an undefined quorum', 'quorum X\n', 'line 1: "X" is not defined above'],
    ['a quorum defined below', `quorum X\nwitness X ${X1_KEY}\n`, 'line 1: "X" is not defined above'],
    ['a log without key', 'log\nquorum none\n', 'line 1: a log is written'],
    ['a log with a name', `log L ${LOG_KEY} url\nquorum none\n`, 'line 1: a log is written'],
    ['a log with a key of a witness', `log ${X1_KEY}\nquorum none\n`, 'is no Ed25519 key of a log'],
    ['a witness with a key of a log', `witness X ${LOG_KEY}\nquorum X\n`, 'is no Ed25519 key of a witness'],
    [
      'a key with another id',
      `witness X ${X1_KEY?.replace(/\+[\da-f]{8}/, '+00000000')}\nquorum X\n`,
      'line 1: ',
    ],
    ['a witness without name', `witness ${X1_KEY}\nquorum none\n`, 'line 1: a witness is written'],
    ['a witness named none', `witness none ${X1_KEY}\nquorum none\n`, 'line 1: "none" cannot be a name'],
    [
      'a group named none',
      `witness X ${X1_KEY}\ngroup none any X\nquorum none\n`,
      'line 2: "none" cannot be a name',
    ],
    [
      'the same name twice',
      `witness X ${X1_KEY}\nwitness X ${X2_KEY}\nquorum X\n`,
      'line 2: "X" is already defined',
    ],
    [
      'a group named like a witness',
      `witness X ${X1_KEY}\ngroup X any X\nquorum X\n`,
      'line 2: "X" is already defined',
    ],
    [
      'the same witness twice',
      `witness X ${X1_KEY}\nwitness Z ${X1_KEY}\nquorum X\n`,
      'line 2: the key is already that of witness X',
    ],
    ['a group without members', 'group G any\nquorum G\n', 'line 1: a group is written'],
    [
      'a group with none in it',
      `witness X ${X1_KEY}\ngroup G any X none\nquorum G\n`,
      'line 2: "none" is not defined above',
    ],
    [
      'a group of itself',
      `witness X ${X1_KEY}\ngroup G any G\nquorum G\n`,
      'line 2: "G" is not defined above',
    ],
    [
      'a member twice',
      `witness X ${X1_KEY}\ngroup G 2 X X\nquorum G\n`,
      'line 2: "X" is already a member of a group',
    ],
    [
      'a member of two groups',
      `witness X ${X1_KEY}\ngroup G any X\ngroup H any X\nquorum H\n`,
      'line 3: "X" is already a member',
    ],
    [
      'a threshold of zero',
      `witness X ${X1_KEY}\ngroup G 0 X\nquorum G\n`,
      'line 2: "0" is neither all, any, nor a number from 1 to 1',
    ],
    [
      'a threshold beyond the members',
      `witness X ${X1_KEY}\ngroup G 2 X\nquorum G\n`,
      'line 2: "2" is neither',
    ],
    [
      'a threshold with a leading zero',
      `witness X ${X1_KEY}\ngroup G 01 X\nquorum G\n`,
      'line 2: "01" is neither',
    ],
    ['a threshold in hex', `witness X ${X1_KEY}\ngroup G 0x1 X\nquorum G\n`, 'line 2: "0x1" is neither'],
    ['more than a MiB', `#${'x'.repeat(1024 * 1024)}\nquorum none\n`, 'it has more than 1048576 bytes'],
  ])('with %s is refused', (_, text, message) => {
    expect(() => parsePolicy(text)).toThrow(ImmutableError);
    expect(() => parsePolicy(text)).toThrow(message);
  });

  test('with the same key for two logs is refused, whatever their names', () => {
    const twin = encodeVerifierKey(verifierKeyOf({ ...LOG, name: 'other.example.test' }));
    expect(() => parsePolicy(`log ${LOG_KEY}\nlog ${twin}\nquorum none\n`)).toThrow(
      'line 2: the key is already that of log log.example.test/ws_1',
    );
  });
});

describe('a quorum', () => {
  const { quorum } = parsePolicy(TWO_LEVELS);

  test.each([
    [[], false],
    [['X1', 'X2'], false],
    [['X1', 'X2', 'X3'], false],
    [['Y1', 'Y2'], false],
    [['X1', 'Y1', 'Y2'], false],
    [['X1', 'X2', 'Y1'], true],
    [['X2', 'X3', 'Y2'], true],
    [['X1', 'X2', 'X3', 'Y1', 'Y2'], true],
    [['X-witnesses', 'Y-witnesses'], false],
    [['X-and-Y'], false],
  ])('of %j: %j', (names, satisfied) => {
    expect(isSatisfied(quorum, new Set(names))).toBe(satisfied);
    expect(quorumGaps(quorum, new Set(names)).length === 0).toBe(satisfied);
  });

  test('says what is missing, outermost first', () => {
    expect(quorumGaps(quorum, new Set(['X3', 'Y1']))).toEqual([
      { name: 'X-and-Y', needed: 2, present: 1, missing: ['X-witnesses'] },
      { name: 'X-witnesses', needed: 2, present: 1, missing: ['X1', 'X2'] },
    ]);
    expect(quorumGaps({ kind: 'witness', name: 'X1' }, new Set())).toEqual([
      { name: 'X1', needed: 1, present: 0, missing: ['X1'] },
    ]);
    expect(quorumGaps({ kind: 'none' }, new Set())).toEqual([]);
  });
});

describe('a checkpoint under a policy', () => {
  const policy = parsePolicy(TWO_LEVELS);
  const root = new Uint8Array(32).fill(9);
  const text = checkpointText(LOG.name, 24, root);
  const signed = signNote(text, LOG);

  function noteBy(...witnesses: SigningKey[]): string {
    return signed + witnesses.map((witness, index) => cosign(text, witness, 100 + index)).join('');
  }

  test('that log and quorum signed holds, and all of its witnesses are told', () => {
    const verdict = checkPolicy(noteBy(Y1, X2, X1, X3), policy);
    expect(verdict).toMatchObject({
      ok: true,
      checkpoint: { origin: LOG.name, size: 24, root },
      log: { url: 'https://log.example.test/' },
    });
    const told = verdict.ok ? verdict.cosignatures : [];
    expect(told.map(({ witness, timestampSeconds }) => [witness.name, timestampSeconds])).toEqual([
      ['X1', 102],
      ['X2', 101],
      ['X3', 103],
      ['Y1', 100],
    ]);
  });

  test('without the quorum does not, and what is missing is told', () => {
    expect(checkPolicy(noteBy(X2, X1), policy)).toMatchObject({
      ok: false,
      reason: 'no_quorum',
      checkpoint: { size: 24 },
      cosignatures: [{ witness: { name: 'X1' } }, { witness: { name: 'X2' } }],
      gaps: [
        { name: 'X-and-Y', missing: ['Y-witnesses'] },
        { name: 'Y-witnesses', missing: ['Y1', 'Y2'] },
      ],
    });
  });

  test('with one witness many times over counts it once', () => {
    expect(checkPolicy(noteBy(X1, X1, X1, Y1), policy)).toMatchObject({ ok: false, reason: 'no_quorum' });
  });

  test('of unknown witnesses counts none of them', () => {
    const sameName = signer(X2.name, 99);
    const sameKeyOtherName = { ...X2, name: 'elsewhere' };
    expect(checkPolicy(noteBy(X1, sameName, sameKeyOtherName, Y1), policy)).toMatchObject({
      reason: 'no_quorum',
    });
  });

  test('needs a log of the policy, by the key of its own origin', () => {
    const unknown = { ok: false, reason: 'unknown_log', origin: LOG.name };
    const cosignatures = noteBy(X1, X2, Y1).slice(signed.length);
    expect(checkPolicy(noteBy(X1, X2, Y1), { ...policy, logs: [] })).toEqual(unknown);
    expect(checkPolicy(signNote(text, signer(LOG.name, 3)) + cosignatures, policy)).toEqual(unknown);
    // Another log of the same policy signs for this one.
    const both: Policy = {
      ...policy,
      logs: [...policy.logs, { key: verifierKeyOf(OTHER_LOG), url: undefined }],
    };
    expect(checkPolicy(signNote(text, OTHER_LOG) + cosignatures, both)).toEqual(unknown);
    const ofOther = signNote(checkpointText(OTHER_LOG.name, 24, root), LOG);
    expect(checkPolicy(ofOther, both)).toEqual({ ok: false, reason: 'unknown_log', origin: OTHER_LOG.name });
  });

  test('with a signature of log or witness that does not hold is refused, and whose it is is told', () => {
    const grown = checkpointText(LOG.name, 25, root);
    const moved = (note: string) => `${grown}\n${note.slice(text.length + 1)}`;
    expect(checkPolicy(moved(noteBy(X1, X2, Y1)), policy)).toEqual({
      ok: false,
      reason: 'bad_signature',
      signer: LOG.name,
    });
    const forged = noteBy(X1, X2, Y1) + cosign(grown, X3, 5);
    expect(checkPolicy(forged, policy)).toEqual({ ok: false, reason: 'bad_signature', signer: 'X3' });
  });

  test('is enough without witnesses where the policy asks for none', () => {
    expect(checkPolicy(signed, parsePolicy(`log ${LOG_KEY}\nquorum none\n`))).toMatchObject({
      ok: true,
      cosignatures: [],
    });
  });

  test.each([
    ['no note', text],
    ['no checkpoint', signNote('some text\n', LOG)],
    ['a root of 31 bytes', signNote(`${LOG.name}\n24\n${base64Encode(root.subarray(1))}\n`, LOG)],
  ])('that is %s is malformed', (_, note) => {
    expect(checkPolicy(note, policy)).toEqual({ ok: false, reason: 'malformed' });
  });
});
