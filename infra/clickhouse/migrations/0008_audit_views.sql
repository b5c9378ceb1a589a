-- What analysts read. The first two views show whatever events their reader may read; nobody is granted them
-- but the owners of the others, whose rights an analyst borrows: see 0007_analysts.server.sql and, for the
-- embedded server, infra/chdb/users.ts. Metadata is a map from each name to its value as text: a value that is
-- no string is JSON. It is computed when it is asked for (docs/decisions/0010-metadata-in-sql.md).
CREATE OR REPLACE VIEW immutable.visible_events
SQL SECURITY INVOKER
AS SELECT
    workspace_id,
    seq,
    id,
    created_at,
    occurred_at,
    actor_id,
    actor_name,
    actor_type,
    action,
    action_category,
    resource,
    resource_id,
    resource_name,
    target_types,
    target_ids,
    tenant_id,
    session_id,
    ip_address,
    ip_country,
    ip_city,
    user_agent,
    version,
    idempotency_key,
    JSONExtract(private, 'metadata', 'Map(String, String)') AS metadata,
    JSONExtractRaw(private, 'metadata') AS metadata_json,
    JSONExtractRaw(private, 'targets') AS targets_json,
    lower(hex(event_hash)) AS event_hash,
    lower(hex(previous_event_hash)) AS previous_event_hash
FROM immutable.events;

-- What the hashes were made of, byte for byte, for whoever checks them (docs/sql.md, docs/integrity.md).
CREATE OR REPLACE VIEW immutable.visible_chain
SQL SECURITY INVOKER
AS SELECT
    workspace_id,
    seq,
    created_at,
    body,
    private,
    salt,
    lower(hex(event_hash)) AS event_hash,
    lower(hex(previous_event_hash)) AS previous_event_hash
FROM immutable.events;

CREATE OR REPLACE VIEW immutable.audit_events
DEFINER = immutable_views SQL SECURITY DEFINER
AS SELECT * FROM immutable.visible_events;

CREATE OR REPLACE VIEW immutable.audit_chain
DEFINER = immutable_views SQL SECURITY DEFINER
AS SELECT * FROM immutable.visible_chain;
