import { utf8Length } from './bytes.ts';
import { type CompleteEvent, LIMITS } from './event.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { canonicalJson, canonicalString } from './json.ts';

/** The two canonical texts of an event; `body` holds the salted digest of `private`. */
export interface CanonicalTexts {
  body: string;
  private: string;
}

/**
 * The canonical texts of format v1. The event is serialised here, once; what follows passes the texts on.
 * @param salt 32 lower-case hex characters, new for every event
 */
export function canonicalTexts(
  event: CompleteEvent,
  salt: string,
  hasher: Hasher = portableHasher,
): CanonicalTexts {
  // Cut out of the text that is hashed, so that the engine puts its pieces together once, not once more for later.
  const salted = saltedText(serialisePrivate(event), salt);
  const body = serialiseBody(event, hasher.hex(salted));
  return { body, private: salted.slice(salt.length + 1) };
}

/** The member `private` of a body: what ties the private text to the hash without showing it. */
export function privateDigest(privateText: string, salt: string, hasher: Hasher = portableHasher): string {
  return hasher.hex(saltedText(privateText, salt));
}

function saltedText(privateText: string, salt: string): string {
  return `${salt}\n${privateText}`;
}

/** Whether the texts together are over the 256 KiB an event may take. */
export function textsTooLarge(texts: CanonicalTexts): boolean {
  if (3 * (texts.body.length + texts.private.length) <= LIMITS.textsBytes) return false;
  return utf8Length(texts.body) + utf8Length(texts.private) > LIMITS.textsBytes;
}

// Written out in the order of names rather than looped over the table of fields, since this runs for every
// event and is twice as fast so; a test holds the two together.

function serialiseBody(event: CompleteEvent, digest: string): string {
  let text = `{"action":${canonicalString(event.action)}`;
  text = withMember(text, '"action_category":', event.action_category);
  text = withMember(text, '"actor_id":', event.actor_id);
  text = withMember(text, '"actor_type":', event.actor_type);
  text = withMember(text, '"id":', event.id);
  text = withMember(text, '"idempotency_key":', event.idempotency_key);
  text = withMember(text, '"ip_country":', event.ip_country);
  text = withMember(text, '"occurred_at":', event.occurred_at);
  text += `,"private":"${digest}"`;
  text = withMember(text, '"resource":', event.resource);
  text = withMember(text, '"resource_id":', event.resource_id);
  text = withMember(text, '"session_id":', event.session_id);
  text = withMember(text, '"tenant_id":', event.tenant_id);
  if (event.version !== undefined) text += `,"version":${event.version}`;
  return `${text},"workspace_id":${canonicalString(event.workspace_id)}}`;
}

function serialisePrivate(event: CompleteEvent): string {
  let text = '';
  text = withMember(text, '"actor_name":', event.actor_name);
  text = withMember(text, '"ip_address":', event.ip_address);
  text = withMember(text, '"ip_city":', event.ip_city);
  if (event.metadata !== undefined) text = `${opened(text)}"metadata":${canonicalJson(event.metadata)}`;
  text = withMember(text, '"resource_name":', event.resource_name);
  if (event.targets !== undefined) text = `${opened(text)}"targets":${canonicalJson(event.targets)}`;
  text = withMember(text, '"user_agent":', event.user_agent);
  return text === '' ? '{}' : `${text}}`;
}

function withMember(text: string, label: string, value: string | undefined): string {
  return value === undefined ? text : opened(text) + label + canonicalString(value);
}

/** The text so far with what goes before its next member. */
function opened(text: string): string {
  return text === '' ? '{' : `${text},`;
}
