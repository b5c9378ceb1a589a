-- What the world was told of a workspace: one row for each anchor tree that it is in (docs/integrity.md). Rows are
-- written before their tree is decided on: one whose batch is not in `anchor_batches` was given up by a crash, or by a
-- second job, and says nothing.
CREATE TABLE IF NOT EXISTS immutable.anchors
(
    -- anc_ and 32 hexadecimal digits.
    `id` String,
    `workspace_id` LowCardinality(String),
    -- Which anchor tree: anchor_batches has its transaction.
    `batch_id` String,
    -- Where the anchor before ended; at the first one, the beginning of the day of the first event.
    `period_start` DateTime64(6, 'UTC'),
    `period_end` DateTime64(6, 'UTC'),
    -- How many events the tree has, and how many of them came since the anchor before.
    `size` UInt64,
    `events_count` UInt64,
    -- Hex, of the workspace's own tree.
    `merkle_root` String,
    -- Of the events of the period; the first is empty where retention has removed its event by then.
    `first_event_hash` String,
    `last_event_hash` String,
    -- C2SP signed-note; its text is the leaf.
    `checkpoint` String CODEC(ZSTD(3)),
    -- SHA-256 of the text of the checkpoint before; empty for the first.
    `previous_anchor_hash` String,
    `anchor_root` String,
    `leaf_index` UInt64,
    `tree_size` UInt64,
    -- Hex, nearest sibling first.
    `path` Array(String) CODEC(ZSTD(3)),
    `created_at` DateTime64(6, 'UTC'),
    INDEX id_index id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (workspace_id, period_end, id)
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1;

-- How each anchor tree stands with the chain. The job goes by its own record in NATS; this is the copy that is read.
CREATE TABLE IF NOT EXISTS immutable.anchor_batches
(
    `id` String,
    `period_end` DateTime64(6, 'UTC'),
    `anchor_root` String,
    `leaves` UInt64,
    `status` LowCardinality(String),
    `reason` String,
    `chain_id` UInt64,
    `contract` String,
    -- 0x and 64 hexadecimal digits; empty until it is submitted, and that of the newest attempt until it is in a block.
    `tx_hash` String,
    -- 0 until it is in a block.
    `block_number` UInt64,
    `block_hash` String,
    `block_time` DateTime64(6, 'UTC'),
    `updated_at` DateTime64(6, 'UTC'),
    -- The revision of the job's record.
    `version` UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1;
