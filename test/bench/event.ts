import { type EventInput, parseEvent } from '../../core/event.ts';

/** Size of the event all figures speak of: this many bytes of JSON in the request. */
export const EVENT_BYTES = 400;

const ACTIONS = ['document.viewed', 'document.shared', 'document.edited', 'document.signed'] as const;
const PEOPLE = ['Maria Keller', 'Jonas Arendt', 'Priya Sharma', 'Akira Tanaka'] as const;
const VARIANTS = 10_000;

/**
 * The document event of the README, in one of 10,000 variants (actors, documents and actions differ, so
 * that columns compress as they do in life). Always exactly {@link EVENT_BYTES} bytes, and never with a
 * key: what a keyed event costs is another question.
 */
export function documentEvent(variant: number): string {
  const n = variant % VARIANTS;
  const digits = String(n).padStart(4, '0');
  const person = PEOPLE[n % PEOPLE.length];
  return JSON.stringify({
    actor_id: `user_${String(n % 500).padStart(4, '0')}`,
    actor_name: person,
    actor_type: 'user',
    action: ACTIONS[(n >> 2) % ACTIONS.length],
    resource: 'document',
    resource_id: `doc_${digits}`,
    resource_name: `Q3 Financial Report ${digits}.pdf`,
    tenant_id: `org_${String(n % 40).padStart(4, '0')}`,
    session_id: `sess_${digits}b7c2d9e04f1a`,
    ip_address: `203.0.113.${100 + (n % 100)}`,
    metadata: { department: 'finance', page_count: 10 + (n % 90), confidential: true },
    targets: [{ type: 'folder', id: `fld_${digits}` }],
  });
}

/** The same, as the edge understands it. */
export function documentEventInput(variant: number): EventInput {
  const parsed = parseEvent(JSON.parse(documentEvent(variant)), Date.now() * 1000);
  if (!parsed.ok) throw new Error(`the event is refused: ${JSON.stringify(parsed.violations)}`);
  return parsed.event;
}
