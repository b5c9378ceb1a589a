import { describe, expect, test } from 'vitest';
import { utf8Encode } from './bytes.ts';
import { checkpointText, openNote, type SigningKey, signNote, verifierKeyOf } from './checkpoint.ts';
import { consistencyPath, leafHash, treeRoot } from './tree.ts';
import { admit, judge, type TreeHead } from './witness.ts';
import { encodeAddCheckpoint, type ReceivedCheckpoint } from './witness-message.ts';

const LOG: SigningKey = { name: 'log.example.test/ws_1', seed: new Uint8Array(32).fill(1) };
const IMPOSTOR: SigningKey = { ...LOG, seed: new Uint8Array(32).fill(2) };
const LEAVES = Array.from({ length: 40 }, (_, index) => leafHash(utf8Encode(`event ${index}`)));
const FORKED = LEAVES.with(3, leafHash(utf8Encode('another event')));

function head(size: number, leaves = LEAVES): TreeHead {
  return { size, root: treeRoot(leaves.slice(0, size)) };
}

function noteOf(size: number, leaves = LEAVES, key = LOG): string {
  return signNote(checkpointText(LOG.name, size, head(size, leaves).root), key);
}

/** A request as an honest log makes it, for the leaves given. */
function requestFor(oldSize: number, size: number, leaves = LEAVES): ReceivedCheckpoint {
  const consistencyProof = oldSize > size ? [] : consistencyPath(leaves.slice(0, size), oldSize);
  const note = noteOf(size, leaves);
  return {
    oldSize,
    consistencyProof,
    note,
    opened: openNote(note)!,
    checkpoint: { origin: LOG.name, ...head(size, leaves) },
  };
}

describe('admission', () => {
  const keysOf = (origin: string) => (origin === LOG.name ? [verifierKeyOf(LOG)] : []);
  const body = encodeAddCheckpoint(requestFor(3, 7));

  test('of a request that the log signed', () => {
    expect(admit(body, keysOf)).toEqual({ ok: true, request: requestFor(3, 7) });
  });

  test('with more signatures, unknown ones ignored', () => {
    const others = signNote(checkpointText(LOG.name, 7, head(7).root), { ...IMPOSTOR, name: 'other' });
    const [, line] = others.split('\n\n');
    expect(admit(`${body}${line}`, keysOf).ok).toBe(true);
  });

  test('by any of the keys that are trusted for that origin', () => {
    const both = () => [verifierKeyOf(IMPOSTOR), verifierKeyOf(LOG)];
    expect(admit(body, both).ok).toBe(true);
  });

  test('is refused with 400 for what is no request', () => {
    expect(admit('', keysOf)).toMatchObject({ ok: false, status: 400 });
    expect(admit(body.replace('old 3', 'old 03'), keysOf)).toMatchObject({ ok: false, status: 400 });
  });

  test('is refused with 404 for a log that is not followed, however it is signed', () => {
    expect(admit(body, () => [])).toMatchObject({ ok: false, status: 404 });
    expect(admit(body.replace(`\n${LOG.name}\n`, '\nelsewhere\n'), keysOf)).toMatchObject({ status: 404 });
  });

  test('is refused with 403 without a signature that holds', () => {
    const forged = encodeAddCheckpoint({ ...requestFor(3, 7), note: noteOf(7, LEAVES, IMPOSTOR) });
    expect(admit(forged, keysOf)).toMatchObject({ ok: false, status: 403 });
    expect(admit(body.replace('\n7\n', '\n8\n'), keysOf)).toMatchObject({ ok: false, status: 403 });
  });
});

describe('judgement', () => {
  test('of every step that a log can take', () => {
    for (let oldSize = 0; oldSize <= 20; oldSize += 1) {
      for (let size = oldSize; size <= 20; size += 1) {
        const latest = oldSize === 0 ? null : head(oldSize);
        expect(judge(requestFor(oldSize, size), latest)).toEqual({ ok: true });
      }
    }
    expect(judge(requestFor(0, 0), head(0))).toEqual({ ok: true });
    expect(judge(requestFor(0, 7), head(0))).toEqual({ ok: true });
  });

  test('is 400 where the old size is larger, whatever is known', () => {
    for (const latest of [null, head(7), head(8), head(3)]) {
      expect(judge(requestFor(8, 7), latest)).toMatchObject({ ok: false, status: 400 });
    }
  });

  test('is 409 with the known size where the old size is another', () => {
    for (const [oldSize, size, known] of [
      [0, 7, 3],
      [3, 7, 5],
      [5, 7, 3],
      [3, 7, 9],
      [7, 7, 9],
      [0, 0, 4],
    ] as const) {
      expect(judge(requestFor(oldSize, size), head(known))).toMatchObject({ status: 409, knownSize: known });
    }
    expect(judge(requestFor(3, 7), null)).toMatchObject({ status: 409, knownSize: 0 });
  });

  test('is 409 without a size for another root at the same size: there is none to ask again with', () => {
    const judgement = judge(requestFor(7, 7, FORKED), head(7));
    expect(judgement).toMatchObject({ ok: false, status: 409 });
    expect(judgement).not.toHaveProperty('knownSize');
    const empty = { ...requestFor(0, 0), checkpoint: { origin: LOG.name, size: 0, root: head(1).root } };
    expect(judge(empty, null)).toMatchObject({ ok: false, status: 409 });
  });

  test('is 422 for a log that was rewritten, cut or proven wrongly', () => {
    const unproven = { ok: false, status: 422 };
    expect(judge(requestFor(7, 20, FORKED), head(7))).toMatchObject(unproven);
    const honest = requestFor(7, 20);
    const { consistencyProof: proof } = honest;
    for (const bent of [
      [],
      proof.slice(1),
      proof.slice(0, -1),
      [...proof, head(1).root],
      [...proof].reverse(),
      requestFor(6, 20).consistencyProof,
      requestFor(7, 19).consistencyProof,
    ]) {
      expect(judge({ ...honest, consistencyProof: bent }, head(7))).toMatchObject(unproven);
    }
    expect(judge({ ...requestFor(0, 7), consistencyProof: [head(7).root] }, null)).toMatchObject(unproven);
    expect(judge({ ...requestFor(7, 7), consistencyProof: [head(7).root] }, head(7))).toMatchObject(unproven);
    // Known here with another root than the log's own of that size.
    expect(judge(honest, head(7, FORKED))).toMatchObject(unproven);
  });
});
