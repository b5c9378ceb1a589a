-- Only on a ClickHouse server: the embedded one has the same in its configuration (infra/chdb/users-xml.ts). What is
-- past its retention is hidden from the analyst of all workspaces too. An analyst of one workspace gets the same
-- from the statements of `immutable analyst create` (infra/clickhouse/analyst.ts): run them again for those from before.
GRANT SELECT ON immutable.retention_windows TO immutable_views;
GRANT SELECT ON immutable.retained_from TO immutable_views;

CREATE ROW POLICY IF NOT EXISTS immutable_retained ON immutable.events AS RESTRICTIVE
USING created_at >= transform(
    workspace_id,
    tupleElement((SELECT (groupArray(workspace_id), groupArray(retained_from)) FROM immutable.retained_from), 1),
    tupleElement((SELECT (groupArray(workspace_id), groupArray(retained_from)) FROM immutable.retained_from), 2),
    toDateTime64(0, 6, 'UTC'))
TO immutable_views;

-- What an analyst sets for a query holds where the views read their tables too, but for these (infra/clickhouse/retained.ts).
ALTER USER immutable_views SETTINGS
    additional_table_filters CONST,
    read_overflow_mode CONST,
    read_overflow_mode_leaf CONST,
    timeout_overflow_mode CONST,
    timeout_overflow_mode_leaf CONST,
    group_by_overflow_mode CONST,
    result_overflow_mode CONST,
    max_parallel_replicas CONST,
    parallel_replicas_count CONST;
