import type { AnchorBatch } from '../control/anchors.ts';
import type { AnchorRow } from './batch.ts';

/** Which events of a workspace are asked about: those behind `after` and up to `upTo`, by number. */
export interface GrowthQuestion {
  workspaceId: string;
  after: number;
  upTo: number;
}

/** Events of one workspace, up to a moment. */
export interface Growth {
  /** The number of the last. */
  size: number;
  lastEventHash: string;
  /** Of the first that is still stored. */
  firstSeq: number;
  firstEventHash: string;
  firstEventAt: string;
}

/** What was anchored of a workspace, as the table has it. */
export interface AnchoredRow {
  id: string;
  size: number;
  checkpoint: string;
}

/** A batch as it is kept in NATS, with the revision of its record. */
export interface BatchVersion {
  batch: AnchorBatch;
  revision: number;
}

/** What the job needs of ClickHouse; every method throws when it does not answer. */
export interface AnchorStore {
  /** What workspaces have grown by, of events received in `[from, before)`; those that have none are left out. */
  growths(questions: readonly GrowthQuestion[], from: string, before: string): Promise<Map<string, Growth>>;
  /** The note with most cosignatures of each checkpoint that is stored. */
  notes(sizes: ReadonlyMap<string, number>): Promise<Map<string, string>>;
  /** The newest anchor of each workspace, of batches that were decided on. */
  newestAnchors(workspaceIds: readonly string[]): Promise<Map<string, AnchoredRow>>;
  /** May be repeated; dying in the middle leaves some of them. */
  writeAnchors(rows: readonly AnchorRow[]): Promise<void>;
  /** In the order of leaves. */
  anchorsOf(batch: { id: string; period_end: string }): Promise<AnchorRow[]>;
  /** The revisions that were written, by the id of their batch. */
  batchVersions(): Promise<Map<string, number>>;
  /** May be repeated. */
  writeBatches(batches: readonly BatchVersion[]): Promise<void>;
}
