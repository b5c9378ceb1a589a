import {
  type Consistency,
  checkConsistency,
  checkInclusion,
  EMPTY_ROOT,
  type Inclusion,
  type Leaves,
  leafData,
  leafHash,
  path,
  proof,
  root,
  sha256,
} from './rfc6962.ts';

/**
 * Inclusion and consistency proofs, each also bent in every way we could think of, with what must come of it.
 * A changed size can still be valid: where the tree of that size has the same shape on the way to the leaf, no
 * verifier can tell.
 */

interface Bent<Proof> {
  about: string;
  bent: Proof;
}

const INCLUSIONS: readonly [index: number, size: number][] = [
  [0, 1],
  [0, 2],
  [1, 2],
  [0, 3],
  [1, 3],
  [2, 3],
  [3, 4],
  [4, 5],
  [2, 6],
  [5, 7],
  [6, 7],
  [0, 8],
  [7, 8],
  [8, 9],
  [9, 15],
  [15, 16],
  [16, 17],
  [254, 255],
  [100, 256],
  [256, 257],
  [65_535, 65_537],
  [2 ** 31 - 1, 2 ** 31],
  [2 ** 31, 2 ** 31 + 1],
  [5, 2 ** 32 - 1],
  [2 ** 32 - 1, 2 ** 32],
  [2 ** 32, 2 ** 32 + 1],
  [2 ** 32 + 5, 2 ** 33 + 7],
  [2 ** 40, 2 ** 40 + 1],
  [2 ** 40 - 1, 2 ** 40 + 2 ** 31 + 1],
  [0, 2 ** 53 - 1],
  [2 ** 53 - 2, 2 ** 53 - 1],
];

const CONSISTENCIES: readonly [first: number, second: number][] = [
  [0, 0],
  [0, 1],
  [0, 7],
  [1, 1],
  [1, 2],
  [1, 3],
  [2, 3],
  [2, 4],
  [3, 4],
  [3, 5],
  [4, 5],
  [4, 8],
  [5, 8],
  [6, 7],
  [6, 13],
  [7, 8],
  [7, 7],
  [8, 9],
  [8, 8],
  [9, 16],
  [15, 17],
  [16, 33],
  [255, 257],
  [256, 1000],
  [2 ** 31, 2 ** 31 + 1],
  [2 ** 31 + 1, 2 ** 32 + 1],
  [2 ** 32 - 1, 2 ** 32],
  [2 ** 32, 2 ** 32 + 1],
  [2 ** 32 + 1, 2 ** 33],
  [2 ** 40 + 3, 2 ** 40 + 2 ** 32],
  [1, 2 ** 53 - 1],
  [2 ** 52, 2 ** 53 - 1],
];

/** The leaves around the places that matter, so that neighbours differ. */
function leavesAround(...places: number[]): Leaves {
  const around = [0, 1, 2, ...places.flatMap((place) => [place - 1, place, place + 1])];
  return { places: [...new Set(around)].filter((place) => place >= 0) };
}

function flipped(hash: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(hash);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

const NO_BYTES = new Uint8Array();

/** Everything that can be done to the hashes of a proof. */
function bentPaths(
  hashes: readonly Uint8Array[],
  alien: Uint8Array,
): { about: string; path: Uint8Array[] }[] {
  const list = [...hashes];
  const middle = list.length >> 1;
  const at = (index: number, change: (hash: Uint8Array) => Uint8Array) =>
    list.map((hash, position) => (position === index ? change(hash) : hash));
  return [
    { about: 'no path', path: [] },
    { about: 'without the first hash', path: list.slice(1) },
    { about: 'without the last hash', path: list.slice(0, -1) },
    { about: 'without a hash in the middle', path: list.toSpliced(middle, 1) },
    { about: 'a hash more at the end', path: [...list, alien] },
    { about: 'a hash more at the beginning', path: [alien, ...list] },
    { about: 'the last hash twice', path: [...list, ...list.slice(-1)] },
    { about: 'the first hash twice', path: [...list.slice(0, 1), ...list] },
    { about: 'a hash of zeros at the end', path: [...list, new Uint8Array(32)] },
    { about: 'the root of the empty tree at the end', path: [...list, EMPTY_ROOT] },
    { about: 'an empty hash at the end', path: [...list, NO_BYTES] },
    { about: 'an empty hash at the beginning', path: [NO_BYTES, ...list] },
    { about: 'an empty hash in place of the first', path: at(0, () => NO_BYTES) },
    { about: 'a hash of 31 bytes', path: at(middle, (hash) => hash.slice(0, 31)) },
    { about: 'a hash of 33 bytes', path: at(middle, (hash) => Uint8Array.of(...hash, 0)) },
    { about: 'reversed', path: [...list].reverse() },
    { about: 'the first two swapped', path: [...list.slice(0, 2).reverse(), ...list.slice(2)] },
    { about: 'the last two swapped', path: [...list.slice(0, -2), ...list.slice(-2).reverse()] },
    { about: 'the first bit flipped', path: at(0, (hash) => flipped(hash, 7)) },
    { about: 'a bit flipped in the middle', path: at(middle, (hash) => flipped(hash, 128)) },
    { about: 'the last bit flipped', path: at(list.length - 1, (hash) => flipped(hash, 248)) },
    { about: 'another hash in place of the last', path: at(list.length - 1, () => alien) },
  ];
}

function inclusionCases(index: number, size: number): Bent<Inclusion>[] {
  const other = index === 0 ? size - 1 : index - 1;
  const leaves = leavesAround(index, other, size);
  const pathTo = (place: number) => path(leaves, place, 0, size);
  const proper: Inclusion = {
    leaf: leafHash(leafData(leaves, index)),
    index,
    size,
    path: pathTo(index),
    root: root(leaves, 0, size),
  };
  const sibling = proper.path[0] ?? NO_BYTES;
  const changed = (about: string, changes: Partial<Inclusion>) => ({
    about,
    bent: { ...proper, ...changes },
  });
  const alien = sha256(Buffer.from('alien'));
  return [
    changed('as it should be', {}),
    changed('the next index', { index: index + 1 }),
    changed('the index before', { index: index - 1 }),
    changed('the index of the sibling', { index: index % 2 === 0 ? index + 1 : index - 1 }),
    changed('the index two on', { index: index + 2 }),
    changed('the index 2^31 on', { index: index + 2 ** 31 }),
    changed('the index 2^32 on', { index: index + 2 ** 32 }),
    changed('the index 2^32 back', { index: index - 2 ** 32 }),
    changed('the size as index', { index: size }),
    changed('half an index', { index: index + 0.5 }),
    changed('index and size swapped', { index: size, size: index }),
    changed('one leaf more', { size: size + 1 }),
    changed('one leaf less', { size: size - 1 }),
    changed('twice the size', { size: size * 2 }),
    changed('half the size', { size: Math.floor(size / 2) }),
    changed('a size 2^32 on', { size: size + 2 ** 32 }),
    changed('a size 2^32 back', { size: size - 2 ** 32 }),
    changed('the size of one leaf', { size: 1, index: 0 }),
    changed('no size', { size: 0 }),
    changed('no size, no index', { size: 0, index: 0 }),
    changed('a size beyond 2^53', { size: 2 ** 53 }),
    changed('another leaf', { leaf: leafHash(leafData(leaves, other)) }),
    changed('the leaf without its prefix', { leaf: sha256(leafData(leaves, index)) }),
    changed('the leaf hashed twice', { leaf: leafHash(proper.leaf) }),
    changed('a bit of the leaf flipped', { leaf: flipped(proper.leaf, 100) }),
    changed('a leaf of 31 bytes', { leaf: proper.leaf.slice(1) }),
    changed('no leaf', { leaf: NO_BYTES }),
    // Together they are the same bytes, so that only their lengths tell.
    changed('a byte moved from leaf to path', {
      leaf: proper.leaf.slice(0, 31),
      path: [Uint8Array.of(...proper.leaf.slice(31), ...sibling), ...proper.path.slice(1)],
    }),
    changed('a byte moved from path to leaf', {
      leaf: Uint8Array.of(...sibling.slice(31), ...proper.leaf),
      path: [sibling.slice(0, 31), ...proper.path.slice(1)],
    }),
    changed('the root as leaf, without path', { leaf: proper.root, path: [] }),
    changed('a bit of the root flipped', { root: flipped(proper.root, 0) }),
    changed('the root of one leaf more', { root: root(leaves, 0, size + 1) }),
    changed('the root of one leaf less', { root: root(leaves, 0, size - 1) }),
    changed('the root of the empty tree', { root: EMPTY_ROOT }),
    changed('a root of 33 bytes', { root: Uint8Array.of(...proper.root, 0) }),
    changed('no root', { root: NO_BYTES }),
    changed('the path to another index', { path: pathTo(other) }),
    changed('another index with its path, not its leaf', { path: pathTo(other), index: other }),
    ...bentPaths(proper.path, alien).map(({ about, path: bent }) =>
      changed(`the path: ${about}`, { path: bent }),
    ),
  ];
}

function consistencyCases(first: number, second: number): Bent<Consistency>[] {
  const leaves = leavesAround(first, second, first >> 1);
  const rootOf = (size: number) => root(leaves, 0, Math.max(size, 0));
  const proper: Consistency = {
    first,
    second,
    path: proof(leaves, first, second),
    first_root: rootOf(first),
    second_root: rootOf(second),
  };
  const changed = (about: string, changes: Partial<Consistency>) => ({
    about,
    bent: { ...proper, ...changes },
  });
  const alien = sha256(Buffer.from('alien'));
  const rewritten: Leaves = { places: leaves.places.filter((place) => place !== 0) };
  return [
    changed('as it should be', {}),
    changed('sizes swapped', { first: second, second: first }),
    changed('sizes and roots swapped', {
      first: second,
      second: first,
      first_root: proper.second_root,
      second_root: proper.first_root,
    }),
    changed('roots swapped', { first_root: proper.second_root, second_root: proper.first_root }),
    changed('the first size one more', { first: first + 1 }),
    changed('the first size one less', { first: first - 1 }),
    changed('the first size doubled', { first: first * 2 }),
    changed('the first size zero', { first: 0 }),
    changed('the first size zero, with the root of nothing', { first: 0, first_root: EMPTY_ROOT }),
    changed('the first size 2^32 back', { first: first - 2 ** 32 }),
    changed('the second size one more', { second: second + 1 }),
    changed('the second size one less', { second: second - 1 }),
    changed('the second size doubled', { second: second * 2 }),
    changed('the second size 2^32 on', { second: second + 2 ** 32 }),
    changed('the second size beyond 2^53', { second: 2 ** 53 }),
    changed('half a size', { first: first + 0.5 }),
    changed('both sizes zero', { first: 0, second: 0 }),
    changed('both sizes the first', { second: first }),
    changed('both sizes the second', { first: second }),
    changed('a bit of the first root flipped', { first_root: flipped(proper.first_root, 5) }),
    changed('a bit of the second root flipped', { second_root: flipped(proper.second_root, 250) }),
    changed('the first root of one leaf less', { first_root: rootOf(first - 1) }),
    changed('the second root of one leaf more', { second_root: rootOf(second + 1) }),
    changed('the first root that of the empty tree', { first_root: EMPTY_ROOT }),
    changed('the second root that of the empty tree', { second_root: EMPTY_ROOT }),
    changed('a first root of 31 bytes', { first_root: proper.first_root.slice(1) }),
    changed('no second root', { second_root: NO_BYTES }),
    changed('both roots the first', { second_root: proper.first_root }),
    changed('both roots the second', { first_root: proper.second_root }),
    changed('the second log rewritten, with its own path', {
      second_root: root(rewritten, 0, second),
      path: proof(rewritten, first, second),
    }),
    changed('the path of another first size', { path: proof(leaves, Math.max(first - 1, 0), second) }),
    changed('the path of another second size', { path: proof(leaves, first, second + 1) }),
    changed('the path with the first root before it', { path: [proper.first_root, ...proper.path] }),
    ...bentPaths(proper.path, alien).map(({ about, path: bent }) =>
      changed(`the path: ${about}`, { path: bent }),
    ),
  ];
}

/** Hashes are written once; a proof names them by their place in that list. */
function createHashes() {
  const places = new Map<string, number>();
  const placeOf = (hash: Uint8Array) => {
    const text = Buffer.from(hash).toString('hex');
    const place = places.get(text) ?? places.size;
    places.set(text, place);
    return place;
  };
  return { placeOf, texts: () => [...places.keys()] };
}

/** The file `test/vectors/rfc6962-cases.json`: one case a line, each different from all others. */
export function rfc6962Cases(): string {
  const hashes = createHashes();
  const write = (value: unknown) => (value instanceof Uint8Array ? hashes.placeOf(value) : value);
  const fields = (bent: object) =>
    Object.entries(bent).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(write) : write(value),
    ]);

  function linesOf<Proof extends object>(
    cases: readonly { base: string; made: Bent<Proof>[] }[],
    check: (bent: Proof) => string,
  ): string {
    const seen = new Set<string>();
    const lines: string[] = [];
    for (const { base, made } of cases) {
      for (const { about, bent } of made) {
        const proofFields = Object.fromEntries(fields(bent));
        const key = JSON.stringify(proofFields);
        // What changes nothing (the last hash of a path that has none) is no case of its own.
        if (seen.has(key)) continue;
        seen.add(key);
        lines.push(JSON.stringify({ about: `${base}: ${about}`, expect: check(bent), ...proofFields }));
      }
    }
    return lines.join(',\n');
  }

  const inclusion = linesOf(
    INCLUSIONS.map(([index, size]) => ({
      base: `leaf ${index} of ${size}`,
      made: inclusionCases(index, size),
    })),
    checkInclusion,
  );
  const consistency = linesOf(
    CONSISTENCIES.map(([first, second]) => ({
      base: `from ${first} to ${second}`,
      made: consistencyCases(first, second),
    })),
    checkConsistency,
  );
  const about =
    'RFC 6962 proofs and bent ones, each with what must come of it; numbers in leaf, path and roots are places in hashes';
  const texts = hashes.texts().map((text) => JSON.stringify(text));
  return `{"about":${JSON.stringify(about)},\n"hashes":[\n${texts.join(',\n')}\n],\n"inclusion":[\n${inclusion}\n],\n"consistency":[\n${consistency}\n]}\n`;
}
