-- Only on a ClickHouse server: the embedded one has the same in its configuration (infra/chdb/users.ts,
-- infra/chdb/users-xml.ts). An analyst of one workspace gets the view from the statements of `immutable analyst create`
-- (infra/clickhouse/analyst.ts): run them again for those from before.
GRANT SELECT ON immutable.anchors TO immutable_views;
GRANT SELECT ON immutable.anchor_batches TO immutable_views;
GRANT SELECT ON immutable.visible_anchors TO immutable_views;

-- As for events: without these, the first policy for anybody would leave everybody else an empty table.
CREATE ROW POLICY IF NOT EXISTS immutable_everybody ON immutable.anchors USING 1 TO ALL;
CREATE ROW POLICY IF NOT EXISTS immutable_everybody ON immutable.anchor_batches USING 1 TO ALL;

GRANT SELECT ON immutable.audit_anchors TO immutable_analyst;
