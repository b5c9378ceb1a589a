-- One row an event. The thirteen columns of the insert come first (names.ts); body, private and salt are
-- what was hashed (docs/integrity.md), byte for byte. Everything below "derived" is computed from the two
-- texts, and no expression there may throw on anything the edge accepts: a row that cannot be stored would
-- stop its partition.
CREATE TABLE IF NOT EXISTS immutable.events
(
    -- Where in the stream the event stands. There is no other book-keeping of what is stored.
    `partition` UInt16,
    `stream_epoch` FixedString(16) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    `stream_index` UInt32 CODEC(Delta, ZSTD(1)),
    `chained_at` DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),

    `workspace_id` LowCardinality(String),
    `seq` UInt64 CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    `body` String CODEC(ZSTD(1)),
    `private` String CODEC(ZSTD(1)),
    `salt` String CODEC(ZSTD(1)),
    `event_hash_hex` String EPHEMERAL,
    `previous_event_hash_hex` String EPHEMERAL,
    `event_hash` FixedString(32) DEFAULT unhex(event_hash_hex) CODEC(NONE),
    `previous_event_hash` String DEFAULT unhex(previous_event_hash_hex) CODEC(NONE),

    -- Derived from body, which is flat canonical JSON: its first `"name":` can only be the member itself.
    `id` String MATERIALIZED simpleJSONExtractString(body, 'id') CODEC(ZSTD(1)),
    `occurred_at` DateTime64(6, 'UTC') MATERIALIZED parseDateTime64BestEffortOrZero(simpleJSONExtractString(body, 'occurred_at'), 6, 'UTC') CODEC(Delta, ZSTD(1)),
    `actor_id` String MATERIALIZED simpleJSONExtractString(body, 'actor_id') CODEC(ZSTD(1)),
    `actor_type` LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'actor_type'),
    `action` LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'action'),
    `action_category` LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'action_category'),
    `resource` LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'resource'),
    `resource_id` String MATERIALIZED simpleJSONExtractString(body, 'resource_id') CODEC(ZSTD(1)),
    `tenant_id` String MATERIALIZED simpleJSONExtractString(body, 'tenant_id') CODEC(ZSTD(1)),
    `session_id` String MATERIALIZED simpleJSONExtractString(body, 'session_id') CODEC(ZSTD(1)),
    `ip_country` LowCardinality(String) MATERIALIZED simpleJSONExtractString(body, 'ip_country'),
    `idempotency_key` String MATERIALIZED simpleJSONExtractString(body, 'idempotency_key') CODEC(ZSTD(1)),
    `version` Nullable(Int32) MATERIALIZED if(simpleJSONHas(body, 'version'), toInt32(simpleJSONExtractInt(body, 'version')), NULL),

    -- Derived from private, whose metadata may hold any names. Parsed once: the expression is the same in
    -- every column, and ClickHouse computes it once a row.
    `actor_name` String MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').actor_name CODEC(ZSTD(1)),
    `resource_name` String MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').resource_name CODEC(ZSTD(1)),
    `ip_address` String MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').ip_address CODEC(ZSTD(1)),
    `ip_city` LowCardinality(String) MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').ip_city,
    `user_agent` String MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').user_agent CODEC(ZSTD(1)),
    `target_types` Array(String) MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').targets.type CODEC(ZSTD(1)),
    `target_ids` Array(String) MATERIALIZED JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').targets.id CODEC(ZSTD(1)),
    `search_text` String MATERIALIZED lowerUTF8(concat(
        JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').actor_name, '\n',
        simpleJSONExtractString(body, 'action'), '\n',
        JSONExtract(private, 'Tuple(actor_name String, ip_address String, ip_city String, resource_name String, targets Array(Tuple(id String, type String)), user_agent String)').resource_name, '\n',
        JSONExtractRaw(private, 'metadata'))) CODEC(ZSTD(1)),

    INDEX id_index id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX actor_id_index actor_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX action_index action TYPE set(256) GRANULARITY 1,
    INDEX resource_index resource TYPE set(256) GRANULARITY 1,
    INDEX resource_id_index resource_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX tenant_id_index tenant_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX session_id_index session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX target_ids_index target_ids TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX search_text_index search_text TYPE text(tokenizer = ngrams(3)),

    -- The row at a position; and, from a few rows a part, the highest position of a partition.
    INDEX stream_seq_index stream_seq TYPE minmax GRANULARITY 1,
    PROJECTION positions (
        SELECT partition, stream_epoch, max((stream_seq, stream_index)), argMax(event_hash, (stream_seq, stream_index))
        GROUP BY partition, stream_epoch),

    -- Both processes that believe they hold a partition compute the same rows; a row older than the
    -- deduplication window could land a second time, so none that old is let in.
    CONSTRAINT chained_recently CHECK chained_at > now64(6) - INTERVAL 5 MINUTE
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (workspace_id, created_at)
SETTINGS
    -- A page of 25 rows by a rare value reads a quarter of what it would at 8,192; disk and inserts hardly notice.
    index_granularity = 2048,
    non_replicated_deduplication_window = 100000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    -- A merged part is on disk before those it replaces are removed.
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    -- ClickHouse sets a broken part aside and goes on without its rows. A chain whose newest rows are
    -- missing would be continued from older ones, and so fork: better not to start.
    max_suspicious_broken_parts = 0,
    max_suspicious_broken_parts_bytes = 0;

-- What could not be stored as an event: the bytes of a damaged message, or a row that ClickHouse refused.
CREATE TABLE IF NOT EXISTS immutable.quarantine
(
    `partition` UInt16,
    `stream_epoch` String,
    `stream_seq` UInt64,
    `stream_index` UInt32,
    `workspace_id` String,
    `reason` String,
    `payload` String CODEC(ZSTD(3)),
    `recorded_at` DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (partition, stream_epoch, stream_seq, stream_index)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Where a chain begins after retention removed what was before.
CREATE TABLE IF NOT EXISTS immutable.boundaries
(
    `workspace_id` String,
    `oldest_kept_seq` UInt64,
    `previous_event_hash` String,
    `recorded_at` DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (workspace_id, oldest_kept_seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Events whose personal data was erased on purpose; a missing `private` without an entry here is a break.
CREATE TABLE IF NOT EXISTS immutable.erasures
(
    `workspace_id` String,
    `seq` UInt64,
    `id` String,
    `recorded_at` DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (workspace_id, seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
