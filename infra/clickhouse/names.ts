/** Names in ClickHouse that code uses; the migrations create them. */
export const DATABASE = 'immutable';

export const TABLES = {
  events: `${DATABASE}.events`,
  quarantine: `${DATABASE}.quarantine`,
  boundaries: `${DATABASE}.boundaries`,
  erasures: `${DATABASE}.erasures`,
  restoredEvents: `${DATABASE}.restored_events`,
  tiles: `${DATABASE}.tiles`,
  checkpoints: `${DATABASE}.checkpoints`,
  anchors: `${DATABASE}.anchors`,
  anchorBatches: `${DATABASE}.anchor_batches`,
  alerts: `${DATABASE}.alerts`,
  retentionWindows: `${DATABASE}.retention_windows`,
  schemaMigrations: `${DATABASE}.schema_migrations`,
} as const;

export const VIEWS = {
  auditEvents: `${DATABASE}.audit_events`,
  auditChain: `${DATABASE}.audit_chain`,
  auditAnchors: `${DATABASE}.audit_anchors`,
  /** What the three above are made of; with the rights of whoever reads them. */
  visibleEvents: `${DATABASE}.visible_events`,
  visibleChain: `${DATABASE}.visible_chain`,
  visibleAnchors: `${DATABASE}.visible_anchors`,
  /** From when on a workspace's events are shown. */
  retainedFrom: `${DATABASE}.retained_from`,
} as const;

/** Whose rights the views have: a user that nobody logs in as. */
export const VIEWS_OWNER = 'immutable_views';

/** What an insert into `events` gives, in this order; every other column is computed by ClickHouse. */
export const EVENT_INSERT_COLUMNS = [
  'partition',
  'stream_epoch',
  'stream_seq',
  'stream_index',
  'chained_at',
  'workspace_id',
  'seq',
  'created_at',
  'body',
  'private',
  'salt',
  'event_hash_hex',
  'previous_event_hash_hex',
] as const;

/** Users, with the same rights in the embedded ClickHouse and on a server (migrations `*.server.sql`). */
export const USERS = ['admin', 'writer', 'reader', 'analyst', 'retention'] as const;
export type User = (typeof USERS)[number];
