import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseVerifierKey, verifyNote } from '../../core/checkpoint.ts';
import { verifyEvidence } from '../../core/evidence.ts';
import { propertyRuns } from '../support/property-runs.ts';
import vectors from '../vectors/integrity-v1.json' with { type: 'json' };
import { anyJson } from './arbitraries.ts';

const KEY = parseVerifierKey(vectors.checkpoint.verifier_key);
const ANCHORED = vectors.evidence.valid[1];
if (KEY === null || ANCHORED?.anchor == null) throw new Error('the vectors have changed');
const TRUST = {
  verifierKeys: [KEY],
  anchor: { chainId: ANCHORED.anchor.chain_id, contract: ANCHORED.anchor.contract },
};

/**
 * Where to look on the chain, which only a look at the chain confirms; and the number of the day's checkpoints,
 * which the root does not tell: the path of the first of three is as long as that of the first of four.
 */
const NOT_PROVEN_OFFLINE = new Set(['anchor.tx_hash', 'anchor.block_number', 'anchor.tree_size']);

test('evidence with any value replaced is valid no more', () => {
  const paths = leafPaths(ANCHORED).filter((path) => !NOT_PROVEN_OFFLINE.has(path.join('.')));
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.oneof(anyJson, edit()), (path, replacement) => {
      const evidence = structuredClone(ANCHORED);
      const changed = replaceAt(evidence, path, replacement);
      fc.pre(changed);
      expect(verifyEvidence(evidence, TRUST).verdict).not.toBe('valid');
    }),
    propertyRuns(1000),
  );
});

test('any JSON is judged, and none of it is valid', () => {
  fc.assert(
    fc.property(anyJson, (value) => {
      expect(verifyEvidence(value, TRUST).verdict).toBe('invalid');
    }),
  );
});

test('a note with any character changed does not verify', () => {
  const { note } = vectors.checkpoint;
  fc.assert(
    fc.property(
      fc.nat(note.length - 1),
      fc.string({ unit: 'binary', minLength: 0, maxLength: 2 }),
      (at, other) => {
        fc.pre(note.charAt(at) !== other);
        expect(verifyNote(note.slice(0, at) + other + note.slice(at + 1), [KEY]).ok).toBe(false);
      },
    ),
    propertyRuns(500),
  );
});

type Path = [string | number, ...(string | number)[]];
/** A change of one character of a text, or of a number by one. */
type Edit = (value: unknown) => unknown;

function edit(): fc.Arbitrary<Edit> {
  return fc
    .tuple(fc.nat(), fc.constantFrom('0', 'f', '"', '\n', ' ', ''))
    .map(([where, character]) => (value) => {
      if (typeof value === 'number') return value + 1;
      if (typeof value !== 'string') return null;
      const at = where % value.length;
      return value.slice(0, at) + character + value.slice(at + 1);
    });
}

function leafPaths(value: unknown, path: (string | number)[] = []): Path[] {
  if (typeof value !== 'object' || value === null) {
    const [first, ...rest] = path;
    return first === undefined ? [] : [[first, ...rest]];
  }
  return Object.entries(value).flatMap(([name, inner]) => leafPaths(inner, [...path, name]));
}

/** Whether something else stands there now. */
function replaceAt(root: object, path: Path, replacement: unknown): boolean {
  const parent = path.slice(0, -1).reduce<unknown>((value, name) => Reflect.get(Object(value), name), root);
  const name = path[path.length - 1] ?? '';
  const before: unknown = Reflect.get(Object(parent), name);
  const after: unknown = typeof replacement === 'function' ? replacement(before) : replacement;
  return Reflect.set(Object(parent), name, after) && after !== before;
}
