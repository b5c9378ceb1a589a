import type { Logger } from '../../infra/log.ts';

/** One thing that is measured. A file of its own in `cases/`, named in `cases/index.ts`. */
export interface BenchCase {
  name: string;
  /** One line for `--help`. */
  about: string;
  run(bench: Bench): Promise<Figure[]>;
}

/** What a case is given. */
export interface Bench {
  /** How long each load is measured, after its warm-up. */
  seconds: number;
  /** The size the goals speak of rather than the short one. */
  full: boolean;
  /** How many rows a case that reads much is to have, if not its own number. */
  rows?: number | undefined;
  /** A folder to keep those rows in, and to find them in again. */
  keep?: string | undefined;
  /** Says on the terminal what is going on. */
  progress(text: string): void;
  log: Logger;
}

/** One line of the table. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  p50Ms?: number;
  p99Ms?: number;
  goal?: Goal;
  /** What was measured beside it, in the same run, of the same unit. */
  limit?: Limit;
  /** What a reader must know to judge the figure. */
  remarks?: string[];
}

export interface Goal {
  text: string;
  met: boolean;
}

export interface Limit {
  name: string;
  value: number;
}
