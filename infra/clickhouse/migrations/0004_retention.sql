-- Events that were brought back from an archive, for reading alone: no chain is continued from here, and
-- after 30 days they are gone again. The same event restored twice is there once.
CREATE TABLE IF NOT EXISTS immutable.restored_events
(
    `workspace_id` LowCardinality(String),
    `seq` UInt64 CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    `body` String CODEC(ZSTD(1)),
    `private` String CODEC(ZSTD(1)),
    `salt` String CODEC(ZSTD(1)),
    `event_hash` String,
    `previous_event_hash` String,
    `restored_at` DateTime DEFAULT now(),
    `id` String MATERIALIZED simpleJSONExtractString(body, 'id') CODEC(ZSTD(1)),
    `action` LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'action'),
    `actor_id` String MATERIALIZED simpleJSONExtractString(body, 'actor_id') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(restored_at)
ORDER BY (workspace_id, seq)
TTL restored_at + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
