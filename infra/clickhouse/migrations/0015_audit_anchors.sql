-- Finds the anchor of one workspace in a tree, by the root of its own tree or because it is alone there.
ALTER TABLE immutable.anchors ADD INDEX IF NOT EXISTS batch_id_index batch_id TYPE bloom_filter(0.001) GRANULARITY 1;
ALTER TABLE immutable.anchors ADD INDEX IF NOT EXISTS merkle_root_index merkle_root TYPE bloom_filter(0.001) GRANULARITY 1;

-- What analysts read of anchors, with the rights model of 0008_audit_views.sql. Rows of a tree that was not decided on
-- are none.
CREATE OR REPLACE VIEW immutable.visible_anchors
SQL SECURITY INVOKER
AS SELECT
    anchors.workspace_id AS workspace_id,
    anchors.id AS id,
    anchors.period_start AS period_start,
    anchors.period_end AS period_end,
    anchors.size AS size,
    anchors.events_count AS events_count,
    batches.status AS status,
    batches.reason AS reason,
    nullIf(batches.chain_id, 0) AS chain_id,
    batches.contract AS contract,
    batches.tx_hash AS tx_hash,
    if(batches.block_hash = '', NULL, batches.block_number) AS block_number,
    batches.block_hash AS block_hash,
    if(batches.block_hash = '', NULL, batches.block_time) AS block_time,
    anchors.merkle_root AS merkle_root,
    anchors.anchor_root AS anchor_root,
    anchors.previous_anchor_hash AS previous_anchor_hash,
    anchors.first_event_hash AS first_event_hash,
    anchors.last_event_hash AS last_event_hash,
    anchors.checkpoint AS checkpoint,
    anchors.leaf_index AS leaf_index,
    anchors.tree_size AS tree_size,
    anchors.path AS path,
    anchors.created_at AS created_at
FROM (SELECT * FROM immutable.anchors FINAL) AS anchors
INNER JOIN (SELECT * FROM immutable.anchor_batches FINAL) AS batches ON batches.id = anchors.batch_id;

CREATE OR REPLACE VIEW immutable.audit_anchors
DEFINER = immutable_views SQL SECURITY DEFINER
AS SELECT * FROM immutable.visible_anchors;
