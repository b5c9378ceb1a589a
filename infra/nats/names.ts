/** Every name the product gives to something inside NATS. Written here and nowhere else. */

export const STREAM_EVENTS = 'EVENTS';
export const STREAM_CHAINED = 'CHAINED';

/** What each stream takes in. */
export const ALL_EVENTS = 'events.>';
export const ALL_CHAINED = 'chained.>';

export function eventsSubject(partition: number, workspaceId: string): string {
  return `events.${partition}.${workspaceId}`;
}

/** Everything of one partition of EVENTS. */
export function eventsFilter(partition: number): string {
  return `events.${partition}.*`;
}

export function chainedSubject(partition: number, workspaceId: string): string {
  return `chained.${partition}.${workspaceId}`;
}

/** Everything of one partition of CHAINED. */
export function chainedFilter(partition: number): string {
  return `chained.${partition}.*`;
}

/** KV buckets, by what they hold. */
export const BUCKETS = {
  install: 'install',
  workspaces: 'workspaces',
  keys: 'keys',
  leases: 'leases',
  /** Partitions that stopped and wait for a person; edges refuse their events. */
  alarms: 'alarms',
  /** How far each partition is stored: what may be purged. */
  floors: 'floors',
  /** Jobs that make files of events, and how far each is. */
  exports: 'exports',
  /** The keys that sign checkpoints, sealed. */
  signing: 'signing',
  /** The newest checkpoint that was signed of each workspace: what the next one must be consistent with. */
  checkpoints: 'checkpoints',
  /** What was, or is to be, anchored, and its transactions. */
  anchors: 'anchors',
  alertRules: 'alert_rules',
  /** Up to where the alert rules have looked at each partition: what a restart goes on from. */
  alertPositions: 'alert_positions',
} as const;

export type BucketName = (typeof BUCKETS)[keyof typeof BUCKETS];

/** The stream behind a bucket, and the subject of one key (NATS ADR-8). */
export function bucketStream(bucket: BucketName): string {
  return `KV_${bucket}`;
}

export function bucketSubject(bucket: BucketName, key: string): string {
  return `$KV.${bucket}.${key}`;
}

/** Where EVENTS keeps its epoch. */
export const METADATA_EPOCH = 'immutable_epoch';

/** Headers of the JetStream protocol (ADR-50 for the batch). */
export const HEADERS = {
  batchId: 'Nats-Batch-Id',
  batchSequence: 'Nats-Batch-Sequence',
  batchCommit: 'Nats-Batch-Commit',
  messageId: 'Nats-Msg-Id',
  expectedLastSubjectSequence: 'Nats-Expected-Last-Subject-Sequence',
} as const;

/** The name of the one user of the embedded server. */
export const EMBEDDED_USER = 'immutable';
