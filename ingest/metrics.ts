import { Counter, Gauge, Histogram, type Registry } from '../infra/metrics.ts';
import type { CommitObserver } from './committer.ts';

export interface IngestMetrics {
  accepted(events: number, duplicates: number): void;
  rejected(events: number): void;
  commits: CommitObserver;
}

export function createIngestMetrics(registry: Registry): IngestMetrics {
  const registers = [registry];
  const accepted = new Counter({
    name: 'immutable_ingest_accepted_events_total',
    help: 'Events answered with 202',
    registers,
  });
  const duplicates = new Counter({
    name: 'immutable_ingest_duplicate_events_total',
    help: 'Those of them answered with the word duplicate',
    registers,
  });
  const rejected = new Counter({
    name: 'immutable_ingest_rejected_events_total',
    help: 'Events that broke a rule',
    registers,
  });
  const seconds = new Histogram({
    name: 'immutable_ingest_commit_seconds',
    help: 'From the arrival of the oldest request of a group until the group is on disk, or given up',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
    registers,
  });
  const groupEvents = new Histogram({
    name: 'immutable_ingest_group_events',
    help: 'Events that shared one commit',
    buckets: [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000],
    registers,
  });
  const repeated = new Counter({
    name: 'immutable_ingest_repeated_commits_total',
    help: 'Attempts to store a group after its first one',
    registers,
  });
  const inFlight = new Gauge({
    name: 'immutable_ingest_groups_in_flight',
    help: 'Groups on their way to the disk',
    registers,
  });
  const held = new Gauge({
    name: 'immutable_ingest_queue_bytes',
    help: 'Bytes of events that wait or are in flight',
    registers,
  });

  return {
    accepted: (events, repeats) => {
      accepted.inc(events);
      if (repeats > 0) duplicates.inc(repeats);
    },
    rejected: (events) => rejected.inc(events),
    commits: {
      queued: (bytes) => held.set(bytes),
      inFlight: (groups) => inFlight.set(groups),
      settled: (group, elapsedSeconds) => {
        seconds.observe(elapsedSeconds);
        groupEvents.observe(group.events);
        if (group.attempts > 1) repeated.inc(group.attempts - 1);
      },
    },
  };
}
