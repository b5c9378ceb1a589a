import { EXPORT_MANIFEST_VERSION } from '../../core/export.ts';
import type { Coverage } from '../proofs/coverage.ts';
import { isFiltered } from './plan.ts';
import { type ExportRecord, fileName, filterOf } from './record.ts';

/**
 * The text that says what a file is, so that it can be checked without us: equal for equal exports.
 * `sha256` is of the whole file. `complete` is said only where nothing was filtered but the time: then every
 * `seq` from the first to the last is in the file, which was checked when it was made. `coverage` is of the last row.
 */
export function manifestText(
  record: ExportRecord,
  file: { bytes: number; sha256: string },
  columns: readonly string[],
  coverage: Coverage | null,
): string {
  const manifest = {
    version: EXPORT_MANIFEST_VERSION,
    export_id: record.id,
    workspace_id: record.workspace_id,
    created_at: record.created_at,
    file_name: fileName(record),
    format: record.format,
    columns,
    filters: record.filters,
    complete: !isFiltered(filterOf(record)),
    rows: record.rows,
    file_size: file.bytes,
    sha256: file.sha256,
    first: record.first,
    last: record.last,
    checkpoint: coverage?.checkpoint ?? null,
    inclusion: coverage?.inclusion ?? null,
  };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
