import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's folder, and what the set-up puts into it. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const PRIVATE = join(ROOT, '.immutable');
export const MODULES = join(ROOT, 'node_modules');
export const DIST = join(ROOT, 'dist');
