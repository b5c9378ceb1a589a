-- For how many days each workspace keeps its events, as it is in force: 0 is for ever. What decides is in NATS;
-- the chain stage repeats it here (pipeline/retention/window-recorder.ts), so that the views of analysts hide what the API
-- hides. The highest revision counts.
CREATE TABLE IF NOT EXISTS immutable.retention_windows
(
    `workspace_id` String,
    `revision` UInt64,
    `days` UInt32,
    `recorded_at` DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY workspace_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- From when on events are shown, of each workspace that does not keep them for ever; for row policies
-- (infra/clickhouse/retained.ts).
CREATE OR REPLACE VIEW immutable.retained_from
SQL SECURITY INVOKER
AS SELECT
    workspace_id,
    now64(6, 'UTC') - toIntervalDay(argMax(days, revision)) AS retained_from
FROM immutable.retention_windows
GROUP BY workspace_id
HAVING argMax(days, revision) > 0;
