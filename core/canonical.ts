import { utf8Length } from './bytes.ts';
import { type CompleteEvent, EVENT_FIELDS, type EventField, LIMITS } from './event.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { canonicalJson } from './json.ts';

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
  const privateText = `{${members(event, PRIVATE_FIELDS)}}`;
  const digest = privateDigest(privateText, salt, hasher);
  const body = `{${members(event, FIELDS_BEFORE_DIGEST)},"private":"${digest}",${members(event, FIELDS_AFTER_DIGEST)}}`;
  return { body, private: privateText };
}

/** The member `private` of a body: what ties the private text to the hash without showing it. */
export function privateDigest(privateText: string, salt: string, hasher: Hasher = portableHasher): string {
  return hasher.hex(`${salt}\n${privateText}`);
}

/** Whether the texts together are over the 256 KiB an event may take. */
export function textsTooLarge(texts: CanonicalTexts): boolean {
  if (3 * (texts.body.length + texts.private.length) <= LIMITS.textsBytes) return false;
  return utf8Length(texts.body) + utf8Length(texts.private) > LIMITS.textsBytes;
}

// Neither side of the digest is ever empty: `action` stands before it, `workspace_id` after it.
const PRIVATE_FIELDS = named((field) => field.text === 'private');
const FIELDS_BEFORE_DIGEST = named((field) => field.text === 'body' && field.name < 'private');
const FIELDS_AFTER_DIGEST = named((field) => field.text === 'body' && field.name > 'private');

interface NamedField {
  name: EventField['name'];
  /** `"name":` */
  prefix: string;
}

function named(isIn: (field: EventField) => boolean): NamedField[] {
  return EVENT_FIELDS.filter(isIn).map(({ name }) => ({ name, prefix: `"${name}":` }));
}

/** The members of the fields that have a value, in the order of `fields`, without braces. */
function members(event: CompleteEvent, fields: readonly NamedField[]): string {
  let text = '';
  for (const { name, prefix } of fields) {
    const value = event[name];
    if (value === undefined) continue;
    if (text !== '') text += ',';
    text += prefix + canonicalJson(value);
  }
  return text;
}
