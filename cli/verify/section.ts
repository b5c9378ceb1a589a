import { ImmutableError } from '../../core/errors.ts';
import { createExportChecker, type ExportManifest, type SoundRows } from '../../core/export.ts';
import { type SoundEvents, soundEvents } from '../../core/log.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { linesIn } from './lines.ts';

/** What lines are part of. */
export type Whole = { kind: 'export'; manifest: ExportManifest } | { kind: 'log'; workspaceId: string };

/** What lines were found to be; empty where something is wrong with them, or nobody looked. */
export interface Section {
  rows?: SoundRows | undefined;
  events?: SoundEvents | undefined;
}

/** Checks lines as `wholeLines` gives them, by themselves. */
export function checkSection(whole: Whole, data: Uint8Array): Section {
  try {
    return whole.kind === 'export'
      ? { rows: soundRows(whole.manifest, data) }
      : { events: soundEvents(eventLines(data), whole.workspaceId, nativeHasher) };
  } catch (error) {
    if (error instanceof ImmutableError && error.code === 'validation_failed') return {};
    throw error;
  }
}

function soundRows(manifest: ExportManifest, data: Uint8Array): SoundRows | undefined {
  const checker = createExportChecker(manifest, { verifierKeys: [] }, nativeHasher);
  for (const line of linesIn(data)) checker.line(line);
  return checker.sound();
}

/** The lines of a log's answer, which may have empty ones. */
export function eventLines(data: Uint8Array): string[] {
  return linesIn(data).filter((line) => line !== '');
}
