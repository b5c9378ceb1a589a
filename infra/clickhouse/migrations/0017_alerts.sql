-- What alert rules have found: one row for each alert. Its id is that of rule and event, and `triggered_at` the time of
-- the event, so that the same alert again, after a crash, is the same row.
CREATE TABLE IF NOT EXISTS immutable.alerts
(
    `workspace_id` LowCardinality(String),
    -- alt_ and a UUID.
    `id` String,
    `rule_id` String,
    -- The rule as it was then.
    `rule_name` String,
    `rule_type` LowCardinality(String),
    `severity` LowCardinality(String),
    -- A sentence without personal data.
    `reason` String,
    `event_id` String,
    `event_seq` UInt64,
    `action` LowCardinality(String),
    `actor_id` String,
    -- Empty where it is unknown.
    `ip_country` LowCardinality(String),
    -- Recorded, and nobody was told.
    `is_muted` Bool,
    `triggered_at` DateTime64(6, 'UTC'),
    `recorded_at` DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY (workspace_id, triggered_at, id)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1;
