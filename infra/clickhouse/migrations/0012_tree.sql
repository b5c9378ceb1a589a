-- The Merkle tree of each workspace, as C2SP tiles (docs/integrity.md). A tile that is not full is the beginning of
-- the one it becomes, so a merge keeps the widest and loses nothing. Rows are 8 KiB, so granules are of few.
CREATE TABLE IF NOT EXISTS immutable.tiles
(
    `workspace_id` LowCardinality(String),
    `level` UInt8,
    `tile_index` UInt64,
    -- How many hashes it has, 1 to 256.
    `width` UInt16,
    `hashes_hex` String EPHEMERAL,
    -- 32 bytes each. Hashes do not compress.
    `hashes` String DEFAULT unhex(hashes_hex) CODEC(NONE)
)
ENGINE = ReplacingMergeTree(width)
ORDER BY (workspace_id, level, tile_index)
SETTINGS index_granularity = 16, fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1;

-- Every checkpoint that was signed. The same one again, with cosignatures of witnesses, takes its place: the text is
-- the same and no signature is lost.
CREATE TABLE IF NOT EXISTS immutable.checkpoints
(
    `workspace_id` LowCardinality(String),
    `size` UInt64,
    -- Hex.
    `root` String,
    -- C2SP signed-note.
    `note` String CODEC(ZSTD(3)),
    -- How many witnesses have cosigned it, and whether that is what the operator's policy asks for.
    `cosignatures` UInt16,
    `is_witnessed` Bool,
    `signed_at` DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(cosignatures)
ORDER BY (workspace_id, size)
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1;
