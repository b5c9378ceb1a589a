import type { Position } from '../../control/position.ts';
import type { Micros } from '../../core/time.ts';

/** One event with its place in the chain: a row of the table `events`. */
export interface ChainRow {
  position: Position;
  workspaceId: string;
  /** 1, 2, 3, … within the workspace. */
  seq: number;
  createdAtMicros: Micros;
  /** `createdAtMicros` as it was hashed. */
  createdAt: string;
  id: string;
  salt: string;
  body: string;
  private: string;
  eventHash: string;
  /** Empty for the first event of a workspace. */
  previousEventHash: string;
  /** What the row takes in an insert, in a message and in memory, near enough to plan with. */
  bytes: number;
}

/** The stream whose positions are stored: one partition of EVENTS, in one life of it. */
export interface Source {
  partition: number;
  epoch: string;
}

/** What could not enter the chain as it came, for the table `quarantine`. */
export interface QuarantineEntry {
  position: Position;
  subject: string;
  /** As far as it is known: the one the subject names. */
  workspaceId: string;
  reason: string;
  bytes: Uint8Array;
}

/** `bytes` of a row with these texts. */
export function rowBytes(body: string, privateText: string): number {
  return Buffer.byteLength(body) + Buffer.byteLength(privateText) + FIXED_ROW_BYTES;
}

/** Ids, times, hashes and separators. */
const FIXED_ROW_BYTES = 320;
