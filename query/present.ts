import { isJsonObject, type JsonObject } from '../core/json.ts';
import { formatTimestamp, type Micros } from '../core/time.ts';

/** One row of `events`, as `search.ts` selects it. */
export interface EventRow {
  id: string;
  seq: number;
  created_at_micros: Micros;
  /** Canonical text (integrity.md §1). */
  body: string;
  /** Canonical text; empty once the personal data was erased. */
  private: string;
  hash_hex: string;
  /** Empty for the first event. */
  previous_hash_hex: string;
}

/** An event as the API gives it (api.md, Events). A member without a value is `null`, `targets` is `[]`. */
export interface ApiEvent {
  id: string;
  actor: { id: string; name: string | null; type: string | null };
  action: string;
  action_category: string | null;
  resource: { type: string | null; id: string | null; name: string | null };
  targets: ApiTarget[];
  metadata: JsonObject | null;
  tenant_id: string | null;
  session_id: string | null;
  ip_address: string | null;
  ip_country: string | null;
  ip_city: string | null;
  user_agent: string | null;
  idempotency_key: string | null;
  version: number | null;
  integrity: ApiIntegrity;
  occurred_at: string;
  created_at: string;
  /** The same once more, flat: the published guides read `event.actor_name`. */
  actor_id: string;
  actor_name: string | null;
  actor_type: string | null;
  resource_id: string | null;
  resource_name: string | null;
}

export interface ApiIntegrity {
  seq: number;
  event_hash: string;
  previous_event_hash: string | null;
  /** There only if a stored text cannot be read, as only tampering or a failing disk leaves it: see `/verify`. */
  damaged?: true;
}

export interface ApiTarget {
  type: string;
  id: string | null;
  name: string | null;
  metadata: JsonObject | null;
}

/**
 * The event of a row, from the two texts that its hash covers and not from the columns derived from them.
 * A row that somebody damaged is shown as far as it can be read: it must not hide the rest of its page.
 */
export function presentEvent(row: EventRow): ApiEvent {
  const bodyText = parse(row.body);
  const personalText = row.private === '' ? {} : parse(row.private);
  const damaged = bodyText === null || personalText === null;
  const body = bodyText ?? {};
  const personal = personalText ?? {};
  const actor = {
    id: text(body.actor_id) ?? '',
    name: text(personal.actor_name),
    type: text(body.actor_type),
  };
  const resource = {
    type: text(body.resource),
    id: text(body.resource_id),
    name: text(personal.resource_name),
  };
  return {
    id: text(body.id) ?? row.id,
    actor,
    action: text(body.action) ?? '',
    action_category: text(body.action_category),
    resource,
    targets: presentTargets(personal.targets),
    metadata: object(personal.metadata),
    tenant_id: text(body.tenant_id),
    session_id: text(body.session_id),
    ip_address: text(personal.ip_address),
    ip_country: text(body.ip_country),
    ip_city: text(personal.ip_city),
    user_agent: text(personal.user_agent),
    idempotency_key: text(body.idempotency_key),
    version: typeof body.version === 'number' ? body.version : null,
    integrity: {
      seq: row.seq,
      event_hash: row.hash_hex,
      previous_event_hash: row.previous_hash_hex === '' ? null : row.previous_hash_hex,
      ...(damaged ? { damaged } : {}),
    },
    occurred_at: text(body.occurred_at) ?? '',
    created_at: formatTimestamp(row.created_at_micros),
    actor_id: actor.id,
    actor_name: actor.name,
    actor_type: actor.type,
    resource_id: resource.id,
    resource_name: resource.name,
  };
}

function presentTargets(targets: unknown): ApiTarget[] {
  if (!Array.isArray(targets)) return [];
  return targets.map((target: unknown) => {
    const { type, id, name, metadata } = object(target) ?? {};
    return { type: text(type) ?? '', id: text(id), name: text(name), metadata: object(metadata) };
  });
}

/** Canonical numbers are the nearest doubles, so reading and writing them again gives the same digits. */
function parse(json: string): JsonObject | null {
  try {
    return object(JSON.parse(json));
  } catch {
    return null;
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function object(value: unknown): JsonObject | null {
  return isJsonObject(value) ? value : null;
}
