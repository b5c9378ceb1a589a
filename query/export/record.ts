import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { recordReader } from '../../control/record.ts';
import { parseTimestamp } from '../../core/time.ts';
import { type EventFilter, FILTERS } from '../conditions.ts';
import { FORMATS } from './format.ts';

/** A job as the bucket `exports` keeps it: one record, changed by compare-and-set only. */

export const STATUSES = ['pending', 'processing', 'completed', 'failed'] as const;

/** A file can be fetched for so long after it was asked for. */
export const FILE_DAYS = 7;
/** Then the job is forgotten. */
export const RECORD_DAYS = 30;
export const DAY_MS = 86_400_000;

const end = z.looseObject({
  seq: z.int(),
  event_hash: z.string(),
  /** Null for the first event of a chain. */
  previous_event_hash: z.string().nullable(),
});
/** One row that stands at an end of a file. */
export type RowEnd = z.infer<typeof end>;

const schema = z.looseObject({
  id: z.string(),
  workspace_id: z.string(),
  format: z.enum(FORMATS),
  bom: z.boolean(),
  /** As they were asked for; times with six fraction digits. */
  filters: z.partialRecord(z.enum([...FILTERS, 'from', 'to']), z.string()),
  status: z.enum(STATUSES),
  created_at: z.string(),
  expires_at: z.string(),
  /** Who works on it; null when nobody does. */
  runner: z
    .looseObject({ token: z.string(), holder: z.string(), instance: z.string().nullable() })
    .nullable(),
  /** Signs of life: rises while somebody works on it. */
  beats: z.int(),
  /** Fixed when the work begins, so that events which arrive meanwhile are no part of it. */
  range: z.looseObject({ first_seq: z.int(), last_seq: z.int(), last_micros: z.int() }).nullable(),
  /** Everything up to here is in the parts that are stored. */
  position: z.looseObject({ micros: z.int(), seq: z.int() }),
  parts: z.int(),
  rows: z.int(),
  bytes: z.int(),
  first: end.nullable(),
  last: end.nullable(),
  /** Attempts in a row that failed without a part in between. */
  failures: z.int(),
  /** Once set on an unfinished job, all that is left to do is to clear up. */
  error_message: z.string().nullable(),
  file_size: z.int().nullable(),
  sha256: z.string().nullable(),
  /** The file and its manifest were removed. */
  removed: z.boolean(),
});

export type ExportRecord = z.infer<typeof schema>;
export type ExportFilters = ExportRecord['filters'];

export const readExport = recordReader('export', schema);

const ID = /^exp_[0-9a-f]{16}$/;

/** `exp_` and 64 random bits. */
export function newExportId(): string {
  return `exp_${randomBytes(8).toString('hex')}`;
}

/** Whether a text may be an export's id: nothing else is looked up. */
export function isExportId(text: string): boolean {
  return ID.test(text);
}

export function isUnfinished({ status }: Pick<ExportRecord, 'status'>): boolean {
  return status === 'pending' || status === 'processing';
}

export function filterOf({ filters }: Pick<ExportRecord, 'filters'>): EventFilter {
  const { from, to, ...others } = filters;
  return { filters: others, from: microsOf(from), to: microsOf(to) };
}

function microsOf(time: string | undefined): number | undefined {
  return time === undefined ? undefined : (parseTimestamp(time) ?? undefined);
}

/** Whole percent: 100 only when the file is there. */
export function progressOf({ status, range, position }: ExportRecord): number {
  if (status === 'completed') return 100;
  if (range === null || position.seq < range.first_seq) return 0;
  const done = position.seq - range.first_seq + 1;
  return Math.min(99, Math.floor((done * 100) / (range.last_seq - range.first_seq + 1)));
}

/** Where a job's objects are; the folder holds nothing else. */
export function keysOf({ workspace_id, id, format }: Pick<ExportRecord, 'workspace_id' | 'id' | 'format'>) {
  const folder = `exports/${workspace_id}/${id}/`;
  return {
    folder,
    part: (index: number) => `${folder}part-${String(index).padStart(6, '0')}`,
    /** What joins the parts of a Parquet file. */
    footer: `${folder}part-footer`,
    file: `${folder}${fileName({ id, format })}`,
    manifest: `${folder}manifest.json`,
  };
}

export function fileName({ id, format }: Pick<ExportRecord, 'id' | 'format'>): string {
  return `immutable-${id}.${format}`;
}
