-- Only on a ClickHouse server: the embedded one has the same four roles in its configuration
-- (infra/chdb/users.ts). Users are the operator's: grant each of these roles to one.
CREATE ROLE IF NOT EXISTS immutable_writer;
GRANT SELECT, INSERT ON immutable.* TO immutable_writer;

CREATE ROLE IF NOT EXISTS immutable_reader;
GRANT SELECT ON immutable.* TO immutable_reader;

CREATE ROLE IF NOT EXISTS immutable_analyst SETTINGS readonly = 2, max_execution_time = 60 MAX 600, max_memory_usage = 2000000000 MAX 8000000000;
GRANT SELECT ON immutable.audit_events TO immutable_analyst;
