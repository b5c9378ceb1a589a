import { readFileSync } from 'node:fs';

const SAMPLE_EVERY_MS = 500;

/** Resident memory of several processes over a run, in MiB. */
export interface MemoryUse {
  peakMiB: number;
  /** Means of the first and the last third of the run: what tells a leak from a working set. */
  earlyMiB: number;
  lateMiB: number;
  /** Of each process, at the moment of the peak. */
  atPeak: Record<string, number>;
}

export interface ObservedProcess {
  name: string;
  pid: number;
}

/** Samples until `stop`. `processes` is asked each time, since a supervised one may have been replaced. */
export function watchMemory(processes: () => ObservedProcess[]): { stop(): MemoryUse | undefined } {
  const samples: Record<string, number>[] = [];
  const sampling = setInterval(() => samples.push(sample(processes())), SAMPLE_EVERY_MS);
  return {
    stop() {
      clearInterval(sampling);
      return summary(samples);
    },
  };
}

/** Undefined where memory cannot be read (no /proc), so that a table shows nothing rather than 0. */
export function summary(samples: Record<string, number>[]): MemoryUse | undefined {
  const totals = samples.map((processes) => sum(Object.values(processes)));
  const peakMiB = Math.max(...totals, 0);
  if (peakMiB === 0) return undefined;
  const third = Math.max(1, Math.floor(totals.length / 3));
  return {
    peakMiB,
    earlyMiB: mean(totals.slice(0, third)),
    lateMiB: mean(totals.slice(-third)),
    atPeak: samples[totals.indexOf(peakMiB)] ?? {},
  };
}

function sample(processes: ObservedProcess[]): Record<string, number> {
  return Object.fromEntries(processes.map(({ name, pid }) => [name, residentMiB(pid)]));
}

/** Of one process; 0 when it has just ended. */
function residentMiB(pid: number): number {
  try {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return Number(line?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: number[]): number {
  return sum(values) / values.length;
}
