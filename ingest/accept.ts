import { canonicalTexts, textsTooLarge } from '../core/canonical.ts';
import { ImmutableError, type Violation } from '../core/errors.ts';
import { completeEvent, LIMITS, parseEvent } from '../core/event.ts';
import type { Hasher } from '../core/hash.ts';
import { keyedEventId } from '../core/id.ts';
import { isJsonObject } from '../core/json.ts';
import { encodeQueuedLine } from '../core/message.ts';
import { formatTimestamp, type Micros } from '../core/time.ts';

/** What the edge knows of a request beside its body; time, chance and places are passed in. */
export interface Circumstances {
  workspaceId: string;
  receivedAtMicros: Micros;
  /** Stands in where an event names no `ip_address`; empty when unknown. */
  callerAddress: string;
  newId(): string;
  /** 32 lower-case hex characters, never the same twice. */
  newSalt(): string;
  placeOf(ip: string): { country?: string | undefined; city?: string | undefined };
  hasher: Hasher;
}

/** An event in the form it keeps for good. */
export interface AcceptedEvent {
  id: string;
  /** Whether the id comes from an idempotency key, so that it may come again. */
  keyed: boolean;
  /** Its line in the payload of EVENTS. */
  line: string;
  warnings: readonly string[];
}

export type Verdict = { ok: true; event: AcceptedEvent } | { ok: false; violations: Violation[] };

/** Judges one event and, if it is good, gives it its id, its salt and its canonical texts. */
export function acceptEvent(input: unknown, circumstances: Circumstances): Verdict {
  const parsed = parseEvent(input, circumstances.receivedAtMicros);
  if (!parsed.ok) return parsed;
  const { workspaceId, hasher } = circumstances;
  const key = parsed.event.idempotency_key;
  const keyed = key !== undefined;
  const callerAddress = circumstances.callerAddress === '' ? undefined : circumstances.callerAddress;
  const ipAddress = parsed.event.ip_address ?? callerAddress;
  const place = ipAddress === undefined ? NOWHERE : circumstances.placeOf(ipAddress);
  const id = keyed ? keyedEventId(workspaceId, key, hasher) : circumstances.newId();
  const event = completeEvent(parsed.event, {
    id,
    workspaceId,
    // Spelling out a time costs as much as checking the event: only where it is used.
    receivedAt: parsed.event.occurred_at ?? formatTimestamp(circumstances.receivedAtMicros),
    callerAddress,
    ipCountry: place.country,
    ipCity: place.city,
  });
  const salt = circumstances.newSalt();
  const texts = canonicalTexts(event, salt, hasher);
  if (textsTooLarge(texts)) return { ok: false, violations: [TOO_LARGE] };
  const line = encodeQueuedLine({ id, keyed, salt, body: texts.body, private: texts.private });
  return { ok: true, event: { id, keyed, line, warnings: parsed.warnings } };
}

const NOWHERE: { country?: string; city?: string } = {};
const TOO_LARGE: Violation = {
  path: '',
  message: `takes more than ${LIMITS.textsBytes} bytes as canonical JSON`,
};

export interface BatchVerdict {
  /** One each, in the order of the request; violation paths begin with `events[<index>]`. */
  verdicts: Verdict[];
  warnings: string[];
}

/**
 * Judges `{"events": [1 to 100]}`; a bad element does not stop the others. Throws `validation_failed` when
 * that frame itself is wrong.
 */
export function acceptBatch(input: unknown, circumstances: Circumstances): BatchVerdict {
  const { events, warnings } = readFrame(input);
  const verdicts = events.map((element: unknown, index) =>
    inElement(index, acceptEvent(element, circumstances)),
  );
  return { verdicts, warnings };
}

function readFrame(input: unknown): { events: readonly unknown[]; warnings: string[] } {
  if (!isJsonObject(input)) throw invalidFrame('', 'must be a JSON object with the member events');
  const { events, ...others } = input;
  if (!Array.isArray(events))
    throw invalidFrame('events', `is required: an array of 1 to ${LIMITS.batchEvents} events`);
  if (events.length === 0) throw invalidFrame('events', 'must have at least one element');
  if (events.length > LIMITS.batchEvents) {
    throw invalidFrame('events', `has ${events.length} elements, at most ${LIMITS.batchEvents} are allowed`);
  }
  const unknownNames = Object.keys(others).slice(0, MAX_WARNINGS);
  return { events, warnings: unknownNames.map((name) => `unknown member '${shown(name)}' was ignored`) };
}

const MAX_WARNINGS = 20;
const SHOWN_CHARACTERS = 64;

function shown(name: string): string {
  return (name.length > SHOWN_CHARACTERS ? `${name.slice(0, SHOWN_CHARACTERS)}…` : name).toWellFormed();
}

function invalidFrame(path: string, message: string): ImmutableError {
  return invalid([{ path, message }]);
}

function inElement(index: number, verdict: Verdict): Verdict {
  if (verdict.ok) return verdict;
  const violations = verdict.violations.map(({ path, message }) => ({
    path: path === '' ? `events[${index}]` : `events[${index}].${path}`,
    message,
  }));
  return { ok: false, violations };
}

/** `validation_failed` with the violations, the first of them in its message. */
export function invalid(violations: Violation[]): ImmutableError {
  return new ImmutableError('validation_failed', invalidMessage(violations), { violations });
}

export function invalidMessage(violations: readonly Violation[]): string {
  const [first] = violations;
  if (first === undefined) return 'The event is not valid.';
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : '';
  return `${first.path === '' ? 'The event' : first.path} ${first.message}${more}.`;
}
