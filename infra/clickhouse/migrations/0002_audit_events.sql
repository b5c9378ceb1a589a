-- What analysts read. It runs with the rights of its owner, so that they need none on the table itself.
CREATE VIEW IF NOT EXISTS immutable.audit_events
DEFINER = CURRENT_USER SQL SECURITY DEFINER
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
    JSONExtractRaw(private, 'targets') AS targets,
    JSONExtractRaw(private, 'metadata') AS metadata,
    lower(hex(event_hash)) AS event_hash,
    lower(hex(previous_event_hash)) AS previous_event_hash
FROM immutable.events;
