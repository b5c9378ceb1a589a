import {
  closeSync,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { dirname } from 'node:path';

const MAX_BYTES = 64 * 1024 * 1024;
const CHECK_EVERY_MS = 60_000;
const TAIL_BYTES = 16 * 1024;

/**
 * Opens a log file for a child to write into. The child holds the file itself, not a pipe to us, so that
 * it can go on logging, and end in order, after its supervisor was killed.
 */
export function openLogFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  shorten(path);
  return openSync(path, 'a', 0o600);
}

/** The last lines of a log file, to show why a child died; empty if there is none. */
export function lastLines(path: string, count: number): string[] {
  try {
    const fd = openSync(path, 'r');
    try {
      const { size } = fstatSync(fd);
      const from = Math.max(0, size - TAIL_BYTES);
      const buffer = Buffer.alloc(size - from);
      readSync(fd, buffer, 0, buffer.length, from);
      const lines = buffer.toString('utf8').split('\n');
      return lines.filter((line) => line.trim() !== '').slice(-count);
    } finally {
      closeSync(fd);
    }
  } catch {
    return [];
  }
}

/** Keeps a log file that is being written below 64 MiB, and one older part beside it. Returns how to stop. */
export function keepShort(path: string): () => void {
  const timer = setInterval(() => shorten(path), CHECK_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Writers append, so a file that is cut to nothing goes on at its new end. Lines written between the
 * copy and the cut are lost; these logs are for people.
 */
function shorten(path: string): void {
  try {
    if (statSync(path).size < MAX_BYTES) return;
    copyFileSync(path, `${path}.1`);
    truncateSync(path, 0);
  } catch {
    // No such file yet, or no space for the copy: logging goes on either way.
  }
}
