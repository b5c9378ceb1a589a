-- Only on a ClickHouse server: the embedded one has the same in its configuration (infra/chdb/users.ts).
-- The views that analysts read run as the user immutable_views, with whose name nobody can log in. An
-- analyst of one workspace has views of its own, which run as a user with a row policy: `immutable analyst
-- create` prints the statements (infra/clickhouse/analyst.ts, docs/sql.md).
CREATE USER IF NOT EXISTS immutable_views IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST NONE;
GRANT SELECT ON immutable.events TO immutable_views;
GRANT SELECT ON immutable.visible_events TO immutable_views;
GRANT SELECT ON immutable.visible_chain TO immutable_views;

-- Where users without a policy read nothing, the first policy for anybody would leave the chain an empty table.
-- The policies of workspaces are restrictive: this one adds nothing to what they let through.
CREATE ROW POLICY IF NOT EXISTS immutable_everybody ON immutable.events USING 1 TO ALL;

GRANT SELECT ON immutable.audit_chain TO immutable_analyst;

-- Limits of every analyst, of one workspace or of all. ClickHouse does not check them for a SETTINGS clause within
-- a subquery, so nothing that guards data rests on them.
CREATE ROLE IF NOT EXISTS immutable_analyst_limits SETTINGS
    readonly = 2,
    max_execution_time = 60 MIN 1 MAX 600,
    max_memory_usage = 2000000000 MIN 1 MAX 8000000000,
    max_result_rows = 10000000 MIN 1 MAX 10000000,
    max_result_bytes = 1073741824 MIN 1 MAX 1073741824,
    max_temporary_data_on_disk_size_for_query = 4294967296 MIN 1 MAX 4294967296,
    max_threads MAX 16,
    use_query_cache = 0 CONST;
GRANT immutable_analyst_limits TO immutable_analyst;

CREATE QUOTA IF NOT EXISTS immutable_analyst_limits KEYED BY user_name
    FOR INTERVAL 1 minute MAX queries = 600,
    FOR INTERVAL 1 hour MAX execution_time = 1800, result_rows = 100000000
    TO immutable_analyst_limits;
