import type { ClickHouseClient } from '@clickhouse/client';
import { hexEncode } from '../../core/bytes.ts';
import { openNote } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import { EVIDENCE_FORMAT } from '../../core/evidence.ts';
import {
  consistencyRanges,
  inclusionRanges,
  type LeafRange,
  rangeHashes,
  type TileName,
  tilesOf,
} from '../../core/tile.ts';
import type { Micros } from '../../core/time.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { presentEvidenceAnchor } from '../anchors/present.ts';
import { type AnchorRow, confirmedAnchor } from '../anchors/sql.ts';
import { ask, askLater } from '../ask.ts';
import { coveringCheckpoint, newestCheckpoint, provenEvent } from './sql.ts';
import type { TileReader } from './tile-reader.ts';

/** The newest checkpoint of a workspace. */
export interface ShownCheckpoint {
  size: number;
  /** C2SP signed-note. */
  note: string;
}

/** An evidence file (docs/integrity.md). */
export interface Evidence {
  format: typeof EVIDENCE_FORMAT;
  event: {
    seq: number;
    created_at: string;
    previous_event_hash: string | null;
    event_hash: string;
    body: string;
    /** Left out, with the salt, where it is withheld or was erased. */
    private?: string;
    salt?: string;
  };
  inclusion: InclusionJson;
  checkpoint: string;
  /** Null where the event is not anchored, or not yet confirmed. */
  anchor: ReturnType<typeof presentEvidenceAnchor> | null;
}

/** A checkpoint with the anchor that it is a leaf of. */
export interface Anchored {
  checkpoint: ShownCheckpoint;
  row: AnchorRow;
}

export interface InclusionJson {
  leaf_index: number;
  tree_size: number;
  /** Hex, nearest sibling first. */
  path: string[];
}

export interface ProvenRow {
  seq: number;
  created_at_text: string;
  created_at_micros: Micros;
  body: string;
  private: string;
  salt: string;
  hash: string;
  previous_hash: string;
}

/** Proofs from the tiles of a workspace: a few of them, however many events there are. */
export interface Prover {
  /** Undefined before the first was signed. */
  checkpoint(workspaceId: string): Promise<ShownCheckpoint | undefined>;
  event(workspaceId: string, id: string): Promise<ProvenRow | undefined>;
  /** The oldest confirmed anchor that has an event; undefined where there is none. */
  anchor(workspaceId: string, seq: number): Promise<Anchored | undefined>;
  inclusion(workspaceId: string, seq: number, treeSize: number): Promise<InclusionJson>;
  /** Hex. */
  consistency(workspaceId: string, first: number, second: number): Promise<string[]>;
  /** The hashes of a tile, one after another; undefined if it is not stored. */
  tile(workspaceId: string, name: TileName): Promise<Uint8Array | undefined>;
}

const SETTINGS = { max_execution_time: 5 };

export function createProver(
  clickhouse: ClickHouseClient,
  tileReader: TileReader,
  { witnessedOnly = false }: { witnessedOnly?: boolean } = {},
): Prover {
  /** A checkpoint is signed when its tiles are stored: missing ones were lost or removed. */
  async function hashes(workspaceId: string, ranges: LeafRange[], treeSize: number): Promise<string[]> {
    const names = tilesOf(ranges, treeSize);
    const tiles = await tileReader.tiles(workspaceId, names);
    try {
      return rangeHashes(ranges, tiles, nativeHasher).map(hexEncode);
    } catch (cause) {
      throw new ImmutableError('internal', 'Tiles of the Merkle tree are missing.', {
        nextStep: 'Run `immutable tree rebuild`.',
        details: { workspaceId, treeSize, wanted: names.map(({ level, index }) => `${level}/${index}`) },
        cause,
      });
    }
  }

  return {
    async checkpoint(workspaceId) {
      const query = newestCheckpoint(workspaceId, witnessedOnly);
      const [row] = await ask<ShownCheckpoint>(clickhouse, query, SETTINGS, askLater);
      return row;
    },
    async event(workspaceId, id) {
      const [row] = await ask<ProvenRow>(clickhouse, provenEvent(workspaceId, id), SETTINGS, askLater);
      return row;
    },
    async anchor(workspaceId, seq) {
      const [row] = await ask<AnchorRow>(
        clickhouse,
        confirmedAnchor(workspaceId, seq, witnessedOnly),
        SETTINGS,
        askLater,
      );
      if (row === undefined) return undefined;
      // The same checkpoint with all its cosignatures; the anchor keeps it as it was on that day.
      const query = coveringCheckpoint(workspaceId, row.size, witnessedOnly);
      const [cosigned] = await ask<ShownCheckpoint>(clickhouse, query, SETTINGS, askLater);
      const own = { size: row.size, note: row.checkpoint };
      const checkpoint = isSameText(cosigned?.note, row.checkpoint) ? (cosigned ?? own) : own;
      return witnessedOnly && checkpoint === own ? undefined : { checkpoint, row };
    },
    async inclusion(workspaceId, seq, treeSize) {
      const path = await hashes(workspaceId, inclusionRanges(seq - 1, treeSize), treeSize);
      return { leaf_index: seq - 1, tree_size: treeSize, path };
    },
    consistency: (workspaceId, first, second) =>
      hashes(workspaceId, consistencyRanges(first, second), second),
    async tile(workspaceId, name) {
      const tiles = await tileReader.tiles(workspaceId, [name]);
      const [tile] = tiles.values();
      return tile?.length === name.width * 32 ? tile : undefined;
    },
  };
}

export function evidenceOf(
  row: ProvenRow,
  inclusion: InclusionJson,
  { checkpoint, anchor }: { checkpoint: ShownCheckpoint; anchor: AnchorRow | undefined },
  withPrivate: boolean,
): Evidence {
  const shown = withPrivate && row.private !== '';
  return {
    format: EVIDENCE_FORMAT,
    event: {
      seq: row.seq,
      created_at: row.created_at_text,
      previous_event_hash: row.previous_hash === '' ? null : row.previous_hash,
      event_hash: row.hash,
      body: row.body,
      ...(shown ? { private: row.private, salt: row.salt } : {}),
    },
    inclusion,
    checkpoint: checkpoint.note,
    anchor: anchor === undefined ? null : presentEvidenceAnchor(anchor),
  };
}

function isSameText(note: string | undefined, other: string): boolean {
  const text = openNote(note ?? '')?.text;
  return text !== undefined && text === openNote(other)?.text;
}
