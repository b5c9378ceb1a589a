import { Counter, Gauge, type Registry } from '../../infra/metrics.ts';

/** What a process tells of the exports it makes. */
export interface ExportMetrics {
  stored(rows: number, bytes: number): void;
  /** `lost`: another process took it over. */
  ended(outcome: 'completed' | 'failed' | 'lost'): void;
  retried(): void;
  running(count: number): void;
  waiting(count: number): void;
}

export function createExportMetrics(registry: Registry): ExportMetrics {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const rows = counter('immutable_export_rows_total', 'Rows stored for exports');
  const bytes = counter('immutable_export_bytes_total', 'Bytes of the parts stored for exports');
  const retries = counter('immutable_export_retries_total', 'Times an export had to wait and try again');
  const running = gauge('immutable_exports_running', 'Exports this process works on');
  const waiting = gauge('immutable_exports_waiting', 'Exports that nobody works on yet');
  const ended = new Counter({
    name: 'immutable_exports_ended_total',
    help: 'Exports this process worked on, by how that ended',
    labelNames: ['outcome'],
    registers,
  });
  return {
    stored: (count, size) => {
      rows.inc(count);
      bytes.inc(size);
    },
    ended: (outcome) => ended.inc({ outcome }),
    retried: () => retries.inc(),
    running: (count) => running.set(count),
    waiting: (count) => waiting.set(count),
  };
}
