import type { BenchCase } from '../case.ts';
import { alerts } from './alerts.ts';
import { edgeBatch } from './edge-batch.ts';
import { edgeSingle } from './edge-single.ts';
import { endToEnd } from './end-to-end.ts';
import { exportCase } from './export.ts';
import { lag } from './lag.ts';
import { query } from './query.ts';
import { tree } from './tree.ts';
import { verifier } from './verifier.ts';
import { verify } from './verify.ts';
import { witness } from './witness.ts';

/** In the order they run when none is named. */
export const CASES: readonly BenchCase[] = [
  edgeSingle,
  edgeBatch,
  endToEnd,
  lag,
  verify,
  verifier,
  query,
  exportCase,
  tree,
  witness,
  alerts,
];
