import { Counter, Gauge, Histogram, type Registry } from '../../infra/metrics.ts';
import type { PartitionState } from '../holder.ts';

/** What one partition tells of its work. */
export interface PartitionMetrics {
  stored(rows: number, duplicates: number, seconds: number): void;
  lag(messages: number, seconds: number): void;
  published(rows: number): void;
  waitingToBePublished(rows: number): void;
  quarantined(): void;
  droppedToken(): void;
  steppedDown(): void;
  state(state: PartitionState): void;
}

/** Registers the stage's metrics once; every partition of the process reports under its own label. */
export function createChainMetrics(registry: Registry): (partition: number) => PartitionMetrics {
  const registers = [registry];
  const labelNames = ['partition'] as const;
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames, registers });

  const stored = counter('immutable_chain_stored_events_total', 'Events chained and stored');
  const duplicates = counter(
    'immutable_chain_duplicate_events_total',
    'Events left out: their key was known',
  );
  const published = counter('immutable_chain_published_events_total', 'Events published to CHAINED');
  const quarantined = counter('immutable_chain_quarantined_total', 'Messages and events put into quarantine');
  const dropped = counter(
    'immutable_chain_dropped_tokens_total',
    'Inserts whose token was written without rows',
  );
  const steppedDown = counter(
    'immutable_chain_stepped_down_total',
    'Times a partition was found in other hands',
  );
  const starts = counter(
    'immutable_chain_starts_total',
    'Times a partition was started, the first time included',
  );
  const lagMessages = gauge('immutable_chain_lag_messages', 'Messages of EVENTS that wait to be read');
  const lagSeconds = gauge(
    'immutable_chain_lag_seconds',
    'From receipt of the newest stored event to its storing',
  );
  const unpublished = gauge('immutable_chain_unpublished_events', 'Stored events that wait to be published');
  const alarm = gauge('immutable_chain_alarm', '1 while the partition is stopped by an alarm');
  const held = gauge('immutable_chain_held', '1 while this process holds the partition');
  const insertSeconds = new Histogram({
    name: 'immutable_chain_insert_seconds',
    help: 'Time to store one batch, with the look at what is stored after it',
    labelNames,
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });

  return (partition) => {
    const label = { partition: String(partition) };
    return {
      stored: (rows, left, seconds) => {
        stored.inc(label, rows);
        duplicates.inc(label, left);
        if (rows > 0) insertSeconds.observe(label, seconds);
      },
      lag: (messages, seconds) => {
        lagMessages.set(label, messages);
        lagSeconds.set(label, seconds);
      },
      published: (rows) => published.inc(label, rows),
      waitingToBePublished: (rows) => unpublished.set(label, rows),
      quarantined: () => quarantined.inc(label),
      droppedToken: () => dropped.inc(label),
      steppedDown: () => steppedDown.inc(label),
      state: (state) => {
        if (state === 'starting') starts.inc(label);
        alarm.set(label, state === 'stopped' ? 1 : 0);
        held.set(label, state === 'waiting' ? 0 : 1);
      },
    };
  };
}
