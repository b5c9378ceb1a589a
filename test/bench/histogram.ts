const BUCKETS_PER_OCTAVE = 64;
const OCTAVES = 32;
const MICROS_PER_MS = 1000;

/** Durations in buckets 1 % wide, from 1 µs to over an hour: constant memory however long the run. */
export interface Histogram {
  record(milliseconds: number): void;
  /** Upper end, in milliseconds, of the bucket that holds the share `q` (0…1) of the durations; 0 if there are none. */
  quantile(q: number): number;
  readonly count: number;
  readonly maxMs: number;
}

export function createHistogram(): Histogram {
  const buckets = new Float64Array(BUCKETS_PER_OCTAVE * OCTAVES);
  let count = 0;
  let maxMs = 0;

  return {
    record(milliseconds) {
      const octave = Math.log2(Math.max(1, milliseconds * MICROS_PER_MS));
      const bucket = Math.min(buckets.length - 1, Math.floor(octave * BUCKETS_PER_OCTAVE));
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
      count += 1;
      if (milliseconds > maxMs) maxMs = milliseconds;
    },
    quantile(q) {
      if (count === 0) return 0;
      const rank = Math.max(1, Math.ceil(q * count));
      let seen = 0;
      for (let bucket = 0; bucket < buckets.length; bucket += 1) {
        seen += buckets[bucket] ?? 0;
        if (seen >= rank) return Math.min(maxMs, upperEndMs(bucket));
      }
      return maxMs;
    },
    get count() {
      return count;
    },
    get maxMs() {
      return maxMs;
    },
  };
}

function upperEndMs(bucket: number): number {
  return 2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE) / MICROS_PER_MS;
}
