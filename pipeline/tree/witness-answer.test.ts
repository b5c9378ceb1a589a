import { describe, expect, test } from 'vitest';
import { checkpointText, type SigningKey, signNote, verifierKeyOf } from '../../core/checkpoint.ts';
import { cosign } from '../../core/cosignature.ts';
import { type Asked, nextStep } from './witness-answer.ts';

const WITNESS: SigningKey = { name: 'witness.example.test', seed: new Uint8Array(32).fill(2) };
const TEXT = checkpointText('log.example.test/ws_1', 24, new Uint8Array(32).fill(7));
const ASKED: Asked = { key: verifierKeyOf(WITNESS), text: TEXT, size: 24, oldSize: 5 };
const LINE = cosign(TEXT, WITNESS, 1_700_000_000);

function stepAfter(status: number, body: string, contentType = 'text/plain', asked = ASKED) {
  return nextStep(asked, { status, contentType, body });
}

function afterSize(body: string, oldSize = 5) {
  return stepAfter(409, body, 'text/x.tlog.size', { ...ASKED, oldSize });
}

describe('200', () => {
  const cosigned = { kind: 'cosigned', line: LINE, size: 24, timestampSeconds: 1_700_000_000 };

  test('with the cosignature', () => {
    expect(stepAfter(200, LINE)).toEqual(cosigned);
  });

  test('with others beside it: they are left out', () => {
    const others = [
      cosign(TEXT, { ...WITNESS, name: 'other.example.test' }, 5),
      cosign(TEXT, { ...WITNESS, seed: new Uint8Array(32).fill(3) }, 6),
      signNote(TEXT, WITNESS).slice(TEXT.length + 1),
    ];
    expect(stepAfter(200, others[0]! + LINE + others[1]! + others[2]!)).toEqual(cosigned);
    expect(stepAfter(200, others.join(''))).toMatchObject({ kind: 'failed', reason: 'not_cosigned' });
  });

  test('with a cosignature that does not hold for this checkpoint', () => {
    const ofAnother = cosign(TEXT.replace('24', '25'), WITNESS, 1_700_000_000);
    expect(stepAfter(200, ofAnother)).toMatchObject({ kind: 'failed', reason: 'not_cosigned' });
  });

  test.each(['', 'OK\n', LINE.slice(0, -1), `text\n\n${LINE}`, `${signNote(TEXT, WITNESS)}${LINE}`])(
    'with %j is malformed',
    (body) => {
      expect(stepAfter(200, body)).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    },
  );
});

describe('409', () => {
  test('with a size up to that of the checkpoint: ask again with it', () => {
    for (const size of [0, 4, 6, 24]) {
      expect(afterSize(`${size}\n`)).toEqual({ kind: 'ask_again', oldSize: size });
    }
    expect(stepAfter(409, '7\n', 'Text/X.tlog.size; charset=utf-8')).toEqual({
      kind: 'ask_again',
      oldSize: 7,
    });
  });

  test('with a larger size: the witness is ahead', () => {
    expect(afterSize('25\n')).toMatchObject({ kind: 'failed', reason: 'ahead', knownSize: 25 });
  });

  test('with the size that was sent', () => {
    expect(afterSize('5\n')).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    expect(afterSize('24\n', 24)).toMatchObject({ kind: 'failed', reason: 'fork' });
  });

  test('without a size: another root for the same size, or nonsense', () => {
    expect(stepAfter(409, 'no', 'text/plain', { ...ASKED, oldSize: 24 })).toMatchObject({ reason: 'fork' });
    expect(stepAfter(409, '7\n')).toMatchObject({ reason: 'malformed_answer' });
    for (const body of ['', '7', '07\n', '-7\n', '7\n7\n', 'many\n', '9007199254740992\n']) {
      expect(afterSize(body)).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    }
  });
});

test.each([
  [403, 'untrusted'],
  [404, 'unknown_origin'],
  [422, 'not_consistent'],
  [400, 'refused'],
  [500, 'refused'],
  [301, 'refused'],
  [204, 'refused'],
])('%d: %s', (status, reason) => {
  expect(stepAfter(status, LINE)).toMatchObject({ kind: 'failed', reason });
});

test('the words of a witness are told in one short line', () => {
  const answer = stepAfter(500, `\u001b[31mno\r\n\tnever${'!'.repeat(1_000)}`);
  const detail = 'detail' in answer ? answer.detail : '';
  expect(detail.startsWith('it answered with status 500: [31mno never!!!')).toBe(true);
  expect(detail.length).toBeLessThan(250);
});
