import { Counter, Gauge, Histogram, type Registry } from '../infra/metrics.ts';
import type { CommitObserver } from './committer.ts';

export interface IngestMetrics {
  accepted(events: number, duplicates: number): void;
  rejected(events: number): void;
  commits: CommitObserver;
}

/** What changes with every request is only counted here, and told when somebody asks for the metrics. */
export function createIngestMetrics(registry: Registry): IngestMetrics {
  const registers = [registry];
  const counts = { accepted: 0, duplicates: 0, rejected: 0, heldBytes: 0, groupsInFlight: 0 };

  function counter(name: string, help: string, count: 'accepted' | 'duplicates' | 'rejected'): void {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.inc(counts[count]);
        counts[count] = 0;
      },
    });
  }
  function gauge(name: string, help: string, value: 'heldBytes' | 'groupsInFlight'): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(counts[value]);
      },
    });
  }

  counter('immutable_ingest_accepted_events_total', 'Events answered with 202', 'accepted');
  counter(
    'immutable_ingest_duplicate_events_total',
    'Those of them answered with the word duplicate',
    'duplicates',
  );
  counter('immutable_ingest_rejected_events_total', 'Events that broke a rule', 'rejected');
  gauge('immutable_ingest_queue_bytes', 'Bytes of events that wait or are in flight', 'heldBytes');
  gauge('immutable_ingest_groups_in_flight', 'Groups on their way to the disk', 'groupsInFlight');
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

  return {
    accepted: (events, repeats) => {
      counts.accepted += events;
      counts.duplicates += repeats;
    },
    rejected: (events) => {
      counts.rejected += events;
    },
    commits: {
      queued: (bytes) => {
        counts.heldBytes = bytes;
      },
      inFlight: (groups) => {
        counts.groupsInFlight = groups;
      },
      settled: (group, elapsedSeconds) => {
        seconds.observe(elapsedSeconds);
        groupEvents.observe(group.events);
        if (group.attempts > 1) repeated.inc(group.attempts - 1);
      },
    },
  };
}
