import type { Violation } from './errors.ts';
import {
  addViolation,
  addWarning,
  type Findings,
  listViolations,
  listWarnings,
  memberPath,
  noFindings,
  shorten,
} from './findings.ts';
import { isIpAddress } from './ip.ts';
import { canonicalSize, isJsonObject, type JsonObject } from './json.ts';
import { checkKeepable, ILL_FORMED } from './keepable.ts';
import {
  formatTimestamp,
  isCanonicalTimestamp,
  MICROS_PER_MINUTE,
  type Micros,
  parseTimestamp,
} from './time.ts';

export type { Violation };

/** Every bound of the event part of the API. Lengths count code points, sizes count bytes of canonical JSON. */
export const LIMITS = {
  stringLength: 255,
  longStringLength: 1024,
  metadataMembers: 50,
  metadataBytes: 64 * 1024,
  /** Nested objects and arrays; the metadata object itself is the first level. */
  metadataDepth: 16,
  targets: 50,
  targetMetadataBytes: 8 * 1024,
  /** Both canonical texts of an event together. */
  textsBytes: 256 * 1024,
  versionMax: 2 ** 31 - 1,
  occurredAtFutureMicros: 5 * MICROS_PER_MINUTE,
  batchEvents: 100,
  requestBytes: 8 * 1024 * 1024,
} as const;

/** An event as a client may send it, checked and normalised: what counts as absent is undefined. */
export interface EventInput {
  action: string;
  actor_id: string;
  action_category?: string | undefined;
  actor_name?: string | undefined;
  actor_type?: string | undefined;
  idempotency_key?: string | undefined;
  /** As given, in any spelling of the address. */
  ip_address?: string | undefined;
  metadata?: JsonObject | undefined;
  /** RFC 3339 UTC with six fraction digits. */
  occurred_at?: string | undefined;
  resource?: string | undefined;
  resource_id?: string | undefined;
  resource_name?: string | undefined;
  session_id?: string | undefined;
  targets?: Target[] | undefined;
  tenant_id?: string | undefined;
  user_agent?: string | undefined;
  version?: number | undefined;
}

export interface Target {
  type: string;
  id?: string | undefined;
  name?: string | undefined;
  metadata?: JsonObject | undefined;
}

/** An event with all that the edge adds to it: what the canonical texts are made of. */
export interface CompleteEvent extends EventInput {
  id: string;
  workspace_id: string;
  occurred_at: string;
  /** ISO 3166-1 alpha-2. */
  ip_country?: string | undefined;
  ip_city?: string | undefined;
}

/** What the edge adds to an event; the address only counts where the client gave none. */
export interface EdgeFacts {
  id: string;
  workspaceId: string;
  /** RFC 3339 UTC with six fraction digits: `occurred_at` where the client gave none. */
  receivedAt: string;
  callerAddress?: string | undefined;
  ipCountry?: string | undefined;
  ipCity?: string | undefined;
}

/** The canonical text a member belongs to: personal data is private, the rest is body. */
export type TextName = 'body' | 'private';

interface FieldOf<Name extends keyof CompleteEvent, Kind extends string, SetBy extends string = 'client'> {
  readonly name: Name;
  readonly kind: Kind;
  readonly text: TextName;
  readonly setBy: SetBy;
  readonly required: boolean;
}

type StringMember = Exclude<
  keyof EventInput,
  'ip_address' | 'occurred_at' | 'version' | 'metadata' | 'targets'
>;
type ServerMember = Exclude<keyof CompleteEvent, keyof EventInput>;

/** `maxLength` counts code points. */
export type StringField = FieldOf<StringMember, 'string'> & { readonly maxLength: number };

/** A member that `POST /events` takes. */
export type ClientField =
  | StringField
  | FieldOf<'ip_address', 'ip'>
  | FieldOf<'occurred_at', 'time'>
  | FieldOf<'version', 'integer'>
  | FieldOf<'metadata', 'metadata'>
  | FieldOf<'targets', 'targets'>;

export type EventField = ClientField | FieldOf<ServerMember, 'string', 'server'>;

/**
 * Every member of an event: what validation, canonical texts and the API description are made from.
 * In the order of names within each text, which is the order of the canonical texts.
 */
export const EVENT_FIELDS: readonly EventField[] = [
  string('body', 'action', { required: true }),
  string('body', 'action_category'),
  string('body', 'actor_id', { required: true }),
  string('body', 'actor_type'),
  server('body', 'id'),
  string('body', 'idempotency_key'),
  server('body', 'ip_country'),
  { text: 'body', name: 'occurred_at', kind: 'time', setBy: 'client', required: false },
  string('body', 'resource'),
  string('body', 'resource_id', { maxLength: LIMITS.longStringLength }),
  string('body', 'session_id'),
  string('body', 'tenant_id'),
  { text: 'body', name: 'version', kind: 'integer', setBy: 'client', required: false },
  server('body', 'workspace_id'),
  string('private', 'actor_name'),
  { text: 'private', name: 'ip_address', kind: 'ip', setBy: 'client', required: false },
  server('private', 'ip_city'),
  { text: 'private', name: 'metadata', kind: 'metadata', setBy: 'client', required: false },
  string('private', 'resource_name'),
  { text: 'private', name: 'targets', kind: 'targets', setBy: 'client', required: false },
  string('private', 'user_agent', { maxLength: LIMITS.longStringLength }),
];

function string(
  text: TextName,
  name: StringMember,
  { required = false, maxLength = LIMITS.stringLength }: { required?: boolean; maxLength?: number } = {},
): StringField {
  return { text, name, kind: 'string', setBy: 'client', required, maxLength };
}

function server(text: TextName, name: ServerMember): FieldOf<ServerMember, 'string', 'server'> {
  return {
    text,
    name,
    kind: 'string',
    setBy: 'server',
    required: name !== 'ip_country' && name !== 'ip_city',
  };
}

export type ParsedEvent =
  | { ok: true; event: EventInput; warnings: string[] }
  | { ok: false; violations: Violation[] };

/**
 * Checks one event as `POST /events` takes it (`input` is parsed JSON) by every rule but the size of its
 * canonical texts (`textsTooLarge`), and normalises it: null and empty optional members and an empty `targets`
 * are absent, `occurred_at` is UTC with six digits, `metadata: []` (how PHP spells an empty object) is `{}`.
 * Everything else is kept as given. Members that are not known are named in `warnings`.
 */
export function parseEvent(input: unknown, nowMicros: Micros): ParsedEvent {
  if (!isJsonObject(input))
    return { ok: false, violations: [{ path: '', message: 'must be a JSON object' }] };
  const event = emptyEvent();
  const findings = noFindings();
  for (const name of Object.keys(input)) {
    const field = CLIENT_FIELDS.get(name);
    if (field === undefined) addWarning(findings, `unknown member '${shorten(name)}' was ignored`);
    else readMember(event, field, input[name], nowMicros, findings);
  }
  checkRequired(input, findings);
  if (findings.violations.length > 0) return { ok: false, violations: listViolations(findings) };
  return { ok: true, event, warnings: listWarnings(findings) };
}

/**
 * The event as it is hashed. Member by member, since spreading an object and adding to it takes eight times as
 * long as all the checks together.
 */
export function completeEvent(event: EventInput, facts: EdgeFacts): CompleteEvent {
  return {
    action: event.action,
    action_category: event.action_category,
    actor_id: event.actor_id,
    actor_name: event.actor_name,
    actor_type: event.actor_type,
    id: facts.id,
    idempotency_key: event.idempotency_key,
    ip_address: event.ip_address ?? facts.callerAddress,
    ip_city: facts.ipCity,
    ip_country: facts.ipCountry,
    metadata: event.metadata,
    occurred_at: event.occurred_at ?? facts.receivedAt,
    resource: event.resource,
    resource_id: event.resource_id,
    resource_name: event.resource_name,
    session_id: event.session_id,
    targets: event.targets,
    tenant_id: event.tenant_id,
    user_agent: event.user_agent,
    version: event.version,
    workspace_id: facts.workspaceId,
  };
}

const CLIENT_FIELDS: ReadonlyMap<string, ClientField> = new Map(
  EVENT_FIELDS.filter((field) => field.setBy === 'client').map((field) => [field.name, field]),
);

/** All members from the start: events of one shape are read twice as fast by all that follows. */
function emptyEvent(): EventInput {
  const event = {
    action: '',
    action_category: undefined,
    actor_id: '',
    actor_name: undefined,
    actor_type: undefined,
    idempotency_key: undefined,
    ip_address: undefined,
    metadata: undefined,
    occurred_at: undefined,
    resource: undefined,
    resource_id: undefined,
    resource_name: undefined,
    session_id: undefined,
    targets: undefined,
    tenant_id: undefined,
    user_agent: undefined,
    version: undefined,
  };
  return event;
}

function readMember(
  event: EventInput,
  field: ClientField,
  value: unknown,
  nowMicros: Micros,
  findings: Findings,
): void {
  if (isAbsent(value)) return;
  switch (field.kind) {
    case 'string':
      event[field.name] = readString(value, field.name, field.maxLength, findings);
      return;
    case 'ip':
      event.ip_address = readIpAddress(value, findings);
      return;
    case 'time':
      event.occurred_at = readOccurredAt(value, nowMicros, findings);
      return;
    case 'integer':
      event.version = readVersion(value, findings);
      return;
    case 'metadata':
      event.metadata = readMetadata(value, findings);
      return;
    case 'targets':
      event.targets = readTargets(value, findings);
  }
}

/** An optional member without a value, however a client spells that. */
function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || value === '';
}

function checkRequired(input: JsonObject, findings: Findings): void {
  for (const name of REQUIRED_MEMBERS) {
    if (isAbsent(input[name])) addViolation(findings, name, 'is required: a string of 1 to 255 characters');
  }
}

const REQUIRED_MEMBERS = [...CLIENT_FIELDS.values()]
  .filter((field) => field.required)
  .map((field) => field.name);

/** The text, or an empty one beside a violation. */
function readString(value: unknown, path: string, maxLength: number, findings: Findings): string {
  if (typeof value !== 'string') addViolation(findings, path, 'must be a string');
  else if (!value.isWellFormed()) addViolation(findings, path, ILL_FORMED);
  else if (isLonger(value, maxLength)) addViolation(findings, path, `is longer than ${maxLength} characters`);
  else return value;
  return '';
}

/** Counts code points only where the UTF-16 length leaves a doubt. */
function isLonger(text: string, maxLength: number): boolean {
  if (text.length <= maxLength) return false;
  if (text.length > 2 * maxLength) return true;
  let length = text.length;
  for (let index = 0; index < text.length; index += 1) {
    if ((text.charCodeAt(index) & 0xfc00) === 0xdc00) length -= 1;
  }
  return length > maxLength;
}

function readIpAddress(value: unknown, findings: Findings): string | undefined {
  if (typeof value === 'string' && isIpAddress(value)) return value;
  addViolation(findings, 'ip_address', 'must be an IPv4 or IPv6 address, without port, prefix or zone');
  return undefined;
}

function readOccurredAt(value: unknown, nowMicros: Micros, findings: Findings): string | undefined {
  const micros = typeof value === 'string' ? parseTimestamp(value) : null;
  if (typeof value !== 'string' || micros === null) {
    addViolation(
      findings,
      'occurred_at',
      'must be an RFC 3339 time since 1970, as 2026-03-15T14:32:18.847312Z',
    );
    return undefined;
  }
  if (micros > nowMicros + LIMITS.occurredAtFutureMicros) {
    addViolation(findings, 'occurred_at', 'is more than 5 minutes in the future');
    return undefined;
  }
  return isCanonicalTimestamp(value) ? value : formatTimestamp(micros);
}

function readVersion(value: unknown, findings: Findings): number | undefined {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= LIMITS.versionMax) {
    return value === 0 ? 0 : value; // -0 is 0
  }
  addViolation(findings, 'version', `must be an integer from 0 to ${LIMITS.versionMax}`);
  return undefined;
}

function readMetadata(value: unknown, findings: Findings): JsonObject | undefined {
  const metadata = readObject(value, 'metadata', LIMITS.metadataBytes, findings);
  if (metadata !== undefined && Object.keys(metadata).length > LIMITS.metadataMembers) {
    addViolation(findings, 'metadata', `has more than ${LIMITS.metadataMembers} members`);
  }
  return metadata;
}

function readObject(
  value: unknown,
  path: string,
  maxBytes: number,
  findings: Findings,
): JsonObject | undefined {
  if (Array.isArray(value) && value.length === 0) return {};
  if (!isJsonObject(value)) {
    addViolation(findings, path, 'must be an object');
    return undefined;
  }
  const violationsBefore = findings.violations.length;
  const bytesAtMost = checkKeepable(value, path, LIMITS.metadataDepth, findings);
  if (findings.violations.length > violationsBefore) return undefined;
  if (bytesAtMost > maxBytes && canonicalSize(value) > maxBytes) {
    addViolation(findings, path, `takes more than ${maxBytes} bytes as canonical JSON`);
  }
  return value;
}

function readTargets(value: unknown, findings: Findings): Target[] | undefined {
  if (!Array.isArray(value)) {
    addViolation(findings, 'targets', 'must be an array of objects');
    return undefined;
  }
  if (value.length > LIMITS.targets) {
    addViolation(findings, 'targets', `has more than ${LIMITS.targets} elements`);
    return undefined;
  }
  if (value.length === 0) return undefined;
  return value.map((element: unknown, index) => readTarget(element, memberPath('targets', index), findings));
}

function readTarget(value: unknown, path: string, findings: Findings): Target {
  const target: Target = { id: undefined, metadata: undefined, name: undefined, type: '' };
  if (!isJsonObject(value)) {
    addViolation(findings, path, 'must be an object');
    return target;
  }
  for (const name of Object.keys(value)) readTargetMember(target, name, value[name], path, findings);
  if (isAbsent(value.type))
    addViolation(findings, `${path}.type`, 'is required: a string of 1 to 255 characters');
  return target;
}

function readTargetMember(
  target: Target,
  name: string,
  value: unknown,
  path: string,
  findings: Findings,
): void {
  switch (name) {
    case 'type':
    case 'id':
    case 'name':
      if (!isAbsent(value))
        target[name] = readString(value, `${path}.${name}`, LIMITS.stringLength, findings);
      return;
    case 'metadata':
      if (isAbsent(value)) return;
      target.metadata = readObject(value, `${path}.metadata`, LIMITS.targetMetadataBytes, findings);
      return;
    default:
      addWarning(findings, `unknown member '${memberPath(path, name)}' was ignored`);
  }
}
