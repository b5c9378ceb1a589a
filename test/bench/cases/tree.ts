import { randomFillSync } from 'node:crypto';
import {
  consistencyRanges,
  inclusionRanges,
  type LeafRange,
  rangeHashes,
  rootIn,
  rootTiles,
  TILE_WIDTH,
  type TileName,
  type Tiles,
  tileKey,
  tilesOf,
} from '../../../core/tile.ts';
import { leafHash, nodeHash, verifyConsistency, verifyInclusion } from '../../../core/tree.ts';
import { createTreeBuilder } from '../../../core/tree-builder.ts';
import { nativeHasher } from '../../../infra/hash.ts';
import type { BenchCase, Figure } from '../case.ts';
import { amount } from '../report.ts';

const GOAL_PER_SECOND = 300_000;
const GOAL_PROOF_MS = 1;
/** Leaves from one harvest to the next, as under load: tiles at the edge are given out too, and a root. */
const LEAVES_A_HARVEST = 100_000;
const HASH_BYTES = 32;
const TREE_SIZE = 100_000_000;
const PROOFS = 20_000;

/** The tree stage's own work: what of it ClickHouse and NATS have no part in. */
export const tree: BenchCase = {
  name: 'tree',
  about: `leaves into tiles; inclusion and consistency proofs in a tree of ${amount(TREE_SIZE)} events, tiles at hand`,
  async run({ seconds, progress }) {
    progress('leaves into tiles');
    const value = leavesPerSecond(seconds);
    const limit = twoHashesPerSecond(seconds);
    progress(`${amount(PROOFS)} proofs of each kind`);
    return [
      {
        name: 'tree',
        value,
        unit: 'leaves/s',
        goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
        limit: { name: 'two SHA-256 a leaf', value: limit },
        remarks: [
          `from event hashes; tiles and root given out every ${amount(LEAVES_A_HARVEST)} leaves; one core`,
        ],
      },
      inclusionFigure(),
      consistencyFigure(),
    ];
  },
};

function leavesPerSecond(seconds: number): number {
  const hashes = randomFillSync(new Uint8Array(LEAVES_A_HARVEST * HASH_BYTES));
  const builder = createTreeBuilder(0, new Map(), nativeHasher);
  function grow(): void {
    for (let at = 0; at < hashes.length; at += HASH_BYTES) {
      builder.append(leafHash(hashes.subarray(at, at + HASH_BYTES), nativeHasher));
    }
    const tiles = [...builder.takeFullTiles(), ...builder.partialTiles()];
    if (tiles.length < LEAVES_A_HARVEST / 256 || builder.root().length !== HASH_BYTES) {
      throw new Error('the tree has not the tiles it must have');
    }
  }
  return LEAVES_A_HARVEST * roundsPerSecond(seconds, grow);
}

/** What no tree of this kind can do without: the hash of the leaf, and one node for each leaf. */
function twoHashesPerSecond(seconds: number): number {
  const [leaf, node] = [new Uint8Array(1 + HASH_BYTES), new Uint8Array(1 + 2 * HASH_BYTES)];
  return (
    LEAVES_A_HARVEST *
    roundsPerSecond(seconds, () => {
      for (let count = 0; count < LEAVES_A_HARVEST; count += 1) {
        nativeHasher.bytes(leaf);
        nativeHasher.bytes(node);
      }
    })
  );
}

/** After a round that is not counted. */
function roundsPerSecond(seconds: number, round: () => void): number {
  round();
  const from = performance.now();
  let rounds = 0;
  while (performance.now() - from < seconds * 1000) {
    round();
    rounds += 1;
  }
  return (rounds * 1000) / (performance.now() - from);
}

function inclusionFigure(): Figure {
  const leaf = SUBTREE_ROOTS[0] ?? new Uint8Array();
  const root = rootIn(tilesAtHand(rootTiles(TREE_SIZE)), TREE_SIZE, nativeHasher);
  return proofFigure('tree-inclusion', (random) => {
    const leafIndex = Math.floor(random * TREE_SIZE);
    return {
      plan: () => inclusionRanges(leafIndex, TREE_SIZE),
      holds: (path) => verifyInclusion(leaf, { leafIndex, treeSize: TREE_SIZE, path }, root, nativeHasher),
    };
  });
}

function consistencyFigure(): Figure {
  const rootOf = (size: number) => rootIn(tilesAtHand(rootTiles(size)), size, nativeHasher);
  const secondRoot = rootOf(TREE_SIZE);
  return proofFigure('tree-consistency', (random) => {
    const firstSize = 1 + Math.floor(random * (TREE_SIZE - 1));
    return {
      plan: () => consistencyRanges(firstSize, TREE_SIZE),
      holds: (path) =>
        verifyConsistency(
          { firstSize, secondSize: TREE_SIZE, path },
          rootOf(firstSize),
          secondRoot,
          nativeHasher,
        ),
    };
  });
}

interface Asked {
  plan(): LeafRange[];
  holds(path: Uint8Array[]): boolean;
}

/** Times the plan, which tiles it needs, and the hashes from these; every hundredth proof is verified. */
function proofFigure(name: string, ask: (random: number) => Asked): Figure {
  const timesMs: number[] = [];
  for (let proof = -PROOFS / 10; proof < PROOFS; proof += 1) {
    const { plan, holds } = ask(Math.random());
    const tiles = tilesAtHand(tilesOf(plan(), TREE_SIZE));
    const from = performance.now();
    const ranges = plan();
    tilesOf(ranges, TREE_SIZE);
    const path = rangeHashes(ranges, tiles, nativeHasher);
    const tookMs = performance.now() - from;
    if (proof >= 0) timesMs.push(tookMs);
    if (proof % 100 === 0 && !holds(path)) throw new Error(`a proof of ${name} does not hold`);
  }
  timesMs.sort((a, b) => a - b);
  const at = (share: number) => timesMs[Math.floor(share * timesMs.length)] ?? 0;
  return {
    name,
    value: (1000 * timesMs.length) / timesMs.reduce((sum, ms) => sum + ms, 0),
    unit: 'proofs/s',
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    goal: { text: `p99 < ${GOAL_PROOF_MS} ms`, met: at(0.99) < GOAL_PROOF_MS },
  };
}

/** Where all leaves are alike, so are all nodes of one height: tiles of any place cost nothing to make. */
const SUBTREE_ROOTS = subtreeRoots(30);

function subtreeRoots(heights: number): Uint8Array[] {
  const roots = [leafHash(new Uint8Array(HASH_BYTES), nativeHasher)];
  for (let root = roots[0]; root !== undefined && roots.length <= heights; root = roots.at(-1)) {
    roots.push(nodeHash(root, root, nativeHasher));
  }
  return roots;
}

const FULL_TILES = [0, 1, 2, 3].map((level) => {
  const hash = SUBTREE_ROOTS[8 * level] ?? new Uint8Array();
  return Uint8Array.from({ length: TILE_WIDTH * HASH_BYTES }, (_, at) => hash[at % HASH_BYTES] ?? 0);
});

/**
 * As a server has them: full tiles above the leaves are few, and were used for proofs before; tiles of leaves, and those at
 * the edge, come fresh for each.
 */
function tilesAtHand(names: readonly TileName[]): Tiles {
  return new Map(
    names.map((name) => {
      const full = FULL_TILES[name.level] ?? new Uint8Array();
      const isRemembered = name.level > 0 && name.width === TILE_WIDTH;
      return [tileKey(name), isRemembered ? full : full.slice(0, name.width * HASH_BYTES)];
    }),
  );
}
