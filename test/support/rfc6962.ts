import { createHash } from 'node:crypto';

/**
 * RFC 6962 §2.1 word for word: recursive definitions over a list of leaves, and the verification that is their
 * inverse. Shares nothing with core/tree.ts. The list may be longer than memory: all leaves but a few are equal.
 */

export function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

export const EMPTY_ROOT = sha256();

export function leafHash(data: Uint8Array): Buffer {
  return sha256(Buffer.of(0), data);
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return sha256(Buffer.of(1), left, right);
}

/** The largest power of two smaller than n. */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** D[n] with any n: `leaf <index>` at the places given, `filler` everywhere else. */
export interface Leaves {
  places: readonly number[];
}

export function leafData({ places }: Leaves, index: number): Buffer {
  return Buffer.from(places.includes(index) ? `leaf ${index}` : 'filler');
}

/** MTH(D[start:end]). */
export function root(leaves: Leaves, start: number, end: number): Buffer {
  const n = end - start;
  if (n === 0) return EMPTY_ROOT;
  if (!leaves.places.some((place) => place >= start && place < end)) return fillerRoot(n);
  if (n === 1) return leafHash(leafData(leaves, start));
  const k = split(n);
  return nodeHash(root(leaves, start, start + k), root(leaves, start + k, end));
}

const fillerRoots = new Map<number, Buffer>();

function fillerRoot(n: number): Buffer {
  const known = fillerRoots.get(n);
  if (known !== undefined) return known;
  const k = split(n);
  const made = n === 1 ? leafHash(Buffer.from('filler')) : nodeHash(fillerRoot(k), fillerRoot(n - k));
  fillerRoots.set(n, made);
  return made;
}

/** PATH(m, D[start:end]), m counted from the start. */
export function path(leaves: Leaves, m: number, start: number, end: number): Buffer[] {
  const n = end - start;
  if (n === 1) return [];
  const k = split(n);
  return m < k
    ? [...path(leaves, m, start, start + k), root(leaves, start + k, end)]
    : [...path(leaves, m - k, start + k, end), root(leaves, start, start + k)];
}

/** PROOF(m, D[n]). */
export function proof(leaves: Leaves, m: number, n: number): Buffer[] {
  return m === 0 ? [] : subproof(leaves, m, 0, n, true);
}

function subproof(leaves: Leaves, m: number, start: number, end: number, complete: boolean): Buffer[] {
  const n = end - start;
  if (m === n) return complete ? [] : [root(leaves, start, end)];
  const k = split(n);
  return m <= k
    ? [...subproof(leaves, m, start, start + k, complete), root(leaves, start + k, end)]
    : [...subproof(leaves, m - k, start + k, end, false), root(leaves, start, start + k)];
}

/** Why a proof proves nothing. */
export type Refusal =
  | 'size_not_a_count'
  | 'index_beyond_size'
  | 'hash_length'
  | 'path_too_short'
  | 'path_too_long'
  | 'root_mismatch'
  | 'sizes_swapped'
  | 'first_root_mismatch'
  | 'second_root_mismatch';

class Refused extends Error {
  readonly reason: Refusal;

  constructor(reason: Refusal) {
    super(reason);
    this.reason = reason;
  }
}

function outcome(check: () => void): 'valid' | Refusal {
  try {
    check();
    return 'valid';
  } catch (error) {
    if (error instanceof Refused) return error.reason;
    throw error;
  }
}

function refuseUnless(condition: boolean, reason: Refusal): void {
  if (!condition) throw new Refused(reason);
}

function isCount(size: number): boolean {
  return Number.isSafeInteger(size) && size >= 0;
}

export interface Inclusion {
  leaf: Uint8Array;
  index: number;
  size: number;
  path: readonly Uint8Array[];
  root: Uint8Array;
}

export function checkInclusion(given: Inclusion): 'valid' | Refusal {
  return outcome(() => {
    refuseUnless(isCount(given.index) && isCount(given.size), 'size_not_a_count');
    refuseUnless(given.index < given.size, 'index_beyond_size');
    refuseUnless(
      [given.leaf, given.root, ...given.path].every(({ length }) => length === 32),
      'hash_length',
    );
    const rest = [...given.path];
    const made = rootOfPath(given.leaf, given.index, given.size, rest);
    refuseUnless(made.equals(given.root), 'root_mismatch');
  });
}

/** MTH(D[n]) from d(m) and PATH(m, D[n]), whose last hash is the one nearest to the root. */
function rootOfPath(leaf: Uint8Array, m: number, n: number, rest: Uint8Array[]): Buffer {
  if (n === 1) {
    refuseUnless(rest.length === 0, 'path_too_long');
    return Buffer.from(leaf);
  }
  const sibling = takeLast(rest);
  const k = split(n);
  return m < k
    ? nodeHash(rootOfPath(leaf, m, k, rest), sibling)
    : nodeHash(sibling, rootOfPath(leaf, m - k, n - k, rest));
}

function takeLast(rest: Uint8Array[]): Uint8Array {
  const last = rest.pop();
  if (last === undefined) throw new Refused('path_too_short');
  return last;
}

export interface Consistency {
  first: number;
  second: number;
  path: readonly Uint8Array[];
  first_root: Uint8Array;
  second_root: Uint8Array;
}

/** From the empty tree there is no proof in the RFC: as in C2SP tlog-witness, it is empty. */
export function checkConsistency(given: Consistency): 'valid' | Refusal {
  return outcome(() => {
    const { first, second } = given;
    refuseUnless(isCount(first) && isCount(second), 'size_not_a_count');
    refuseUnless(first <= second, 'sizes_swapped');
    const hashes = [given.first_root, given.second_root, ...given.path];
    refuseUnless(
      hashes.every(({ length }) => length === 32),
      'hash_length',
    );
    const rest = [...given.path];
    const afterNothing = second === 0 ? EMPTY_ROOT : Buffer.from(given.second_root);
    const [firstMade, secondMade] =
      first === 0
        ? [EMPTY_ROOT, afterNothing]
        : rootsOfProof(Buffer.from(given.first_root), first, second, true, rest);
    refuseUnless(rest.length === 0, 'path_too_long');
    refuseUnless(firstMade.equals(given.first_root), 'first_root_mismatch');
    refuseUnless(secondMade.equals(given.second_root), 'second_root_mismatch');
  });
}

/** MTH(D[0:m]) and MTH(D[n]) from SUBPROOF(m, D[n], complete). */
function rootsOfProof(
  firstRoot: Buffer,
  m: number,
  n: number,
  complete: boolean,
  rest: Uint8Array[],
): [Buffer, Buffer] {
  if (m === n) {
    const both = complete ? firstRoot : Buffer.from(takeLast(rest));
    return [both, both];
  }
  const sibling = takeLast(rest);
  const k = split(n);
  if (m <= k) {
    const [first, second] = rootsOfProof(firstRoot, m, k, complete, rest);
    return [first, nodeHash(second, sibling)];
  }
  const [first, second] = rootsOfProof(firstRoot, m - k, n - k, false, rest);
  return [nodeHash(sibling, first), nodeHash(sibling, second)];
}
