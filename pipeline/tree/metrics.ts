import { parseTimestamp } from '../../core/time.ts';
import { Counter, Gauge, Histogram, type Registry } from '../../infra/metrics.ts';
import type { PartitionState } from '../holder.ts';

/** What the work on one partition is counted by. */
export interface TreeMetrics {
  /** Checkpoints signed at once, the tiles behind them, and how long it took. */
  signed(checkpoints: number, tiles: number, seconds: number): void;
  /** `createdAt`: of the newest event that was taken. */
  lag(createdAt: string | undefined): void;
  mismatch(): void;
  state(state: PartitionState): void;
}

/** Counts what witnesses have cosigned, and how often that was enough. */
export function createWitnessMetrics(
  registry: Registry,
): (cosignatures: number, isWitnessed: boolean) => void {
  const registers = [registry];
  const cosignatures = new Counter({
    name: 'immutable_tree_cosignatures_total',
    help: 'Cosignatures that witnesses gave',
    registers,
  });
  const rounds = new Counter({
    name: 'immutable_tree_witness_rounds_total',
    help: 'Times that all witnesses were asked for a checkpoint, by whether enough have cosigned it',
    labelNames: ['outcome'],
    registers,
  });
  return (count, isWitnessed) => {
    cosignatures.inc(count);
    rounds.inc({ outcome: isWitnessed ? 'witnessed' : 'too_few' });
  };
}

export function createTreeMetrics(registry: Registry): (partition: number) => TreeMetrics {
  const labelNames = ['partition'] as const;
  const registers = [registry];
  const checkpoints = new Counter({
    name: 'immutable_tree_checkpoints_total',
    help: 'Checkpoints that were signed',
    labelNames,
    registers,
  });
  const tiles = new Counter({
    name: 'immutable_tree_tiles_total',
    help: 'Tiles written, those that are not full yet included',
    labelNames,
    registers,
  });
  const mismatches = new Counter({
    name: 'immutable_tree_mismatches_total',
    help: 'Workspaces given up because what is stored is not what was signed',
    labelNames,
    registers,
  });
  const lagSeconds = new Gauge({
    name: 'immutable_tree_lag_seconds',
    help: 'From receipt of the newest event in a tree to its arrival there',
    labelNames,
    registers,
  });
  const held = new Gauge({
    name: 'immutable_tree_held',
    help: '1 while this process grows the trees of the partition',
    labelNames,
    registers,
  });
  const signSeconds = new Histogram({
    name: 'immutable_tree_sign_seconds',
    help: 'Time to store tiles, sign, and store checkpoints',
    labelNames,
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  return (partition) => {
    const label = { partition: String(partition) };
    return {
      signed: (count, tileCount, seconds) => {
        checkpoints.inc(label, count);
        tiles.inc(label, tileCount);
        signSeconds.observe(label, seconds);
      },
      lag: (createdAt) => {
        const micros = createdAt === undefined ? null : parseTimestamp(createdAt);
        if (micros !== null) lagSeconds.set(label, Math.max(0, Date.now() / 1000 - micros / 1_000_000));
      },
      mismatch: () => mismatches.inc(label),
      state: (state) => held.set(label, state === 'waiting' ? 0 : 1),
    };
  };
}
