import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { canonicalTexts, privateDigest, textsTooLarge } from './canonical.ts';
import { type CompleteEvent, completeEvent, EVENT_FIELDS, type EventField, parseEvent } from './event.ts';
import { canonicalJson } from './json.ts';

const SALT = '0123456789abcdef0123456789abcdef';
const LEAST: CompleteEvent = {
  id: 'i',
  workspace_id: 'w',
  action: 'a',
  actor_id: 'u',
  occurred_at: '2026-03-15T14:32:18.847312Z',
};

describe.each(vectors.events)('vector $seq', (vector) => {
  test('the texts of the input are those of the vector', () => {
    const texts = canonicalTexts(fromVector(vector.input), vector.salt);
    expect(texts).toEqual({ body: vector.body, private: vector.private });
    expect(privateDigest(texts.private, vector.salt)).toBe(vector.private_digest);
  });

  test('the texts of what parseEvent makes of the input are the same', () => {
    const { id, workspace_id, ip_country, ip_city, ...sent } = fromVector(vector.input);
    const parsed = parseEvent(sent, Date.UTC(2026, 3) * 1000);
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.violations));
    const complete = completeEvent(parsed.event, {
      id,
      workspaceId: workspace_id,
      receivedAt: '2026-03-15T14:32:18.847312Z',
      ipCountry: ip_country,
      ipCity: ip_city,
    });
    expect(canonicalTexts(complete, vector.salt)).toEqual({ body: vector.body, private: vector.private });
  });
});

/** The JSON of the vectors is trusted to be events. */
function fromVector(input: (typeof vectors.events)[number]['input']): CompleteEvent {
  return input as CompleteEvent;
}

test('an event without private members has the private text {}', () => {
  const texts = canonicalTexts(LEAST, SALT);
  expect(texts.private).toBe('{}');
  expect(texts.body).toBe(
    `{"action":"a","actor_id":"u","id":"i","occurred_at":"2026-03-15T14:32:18.847312Z","private":"${privateDigest('{}', SALT)}","workspace_id":"w"}`,
  );
});

describe('the texts and the table of fields agree', () => {
  test.each(EVENT_FIELDS)('$name is in the $text text', (field) => {
    const value = sampleOf(field);
    const texts = canonicalTexts({ ...LEAST, [field.name]: value }, SALT);
    const [home, other] = field.text === 'body' ? [texts.body, texts.private] : [texts.private, texts.body];
    expect(JSON.parse(home)[field.name]).toEqual(value);
    expect(JSON.parse(other)).not.toHaveProperty(field.name);
  });

  test('with every field set, both texts are RFC 8785 and hold nothing else', () => {
    const event = Object.fromEntries(EVENT_FIELDS.map((field) => [field.name, sampleOf(field)]));
    const texts = canonicalTexts({ ...LEAST, ...event }, SALT);
    for (const text of [texts.body, texts.private]) expect(canonicalJson(JSON.parse(text))).toBe(text);
    const members = [...Object.keys(JSON.parse(texts.body)), ...Object.keys(JSON.parse(texts.private))];
    expect(members.sort()).toEqual([...EVENT_FIELDS.map((field) => field.name), 'private'].sort());
  });

  test('the table names the members that the format names', () => {
    const names = (text: string) =>
      EVENT_FIELDS.filter((field) => field.text === text).map((field) => field.name);
    expect(names('private')).toEqual(
      'actor_name ip_address ip_city metadata resource_name targets user_agent'.split(' '),
    );
    expect(names('body')).toEqual(
      'action action_category actor_id actor_type id idempotency_key ip_country occurred_at resource resource_id session_id tenant_id version workspace_id'.split(
        ' ',
      ),
    );
  });
});

function sampleOf(field: EventField): unknown {
  switch (field.kind) {
    case 'integer':
      return 0;
    case 'metadata':
      return { b: 1, a: { '"': [] } };
    case 'targets':
      return [{ type: 't', id: '1', metadata: {} }];
    default:
      return `value of "${field.name}"`;
  }
}

test('members of targets that have no value are left out, the others are sorted', () => {
  const targets = [
    { type: 't', id: undefined, name: 'n', metadata: undefined },
    { type: 'u', metadata: { z: 1, a: 2 } },
  ];
  expect(canonicalTexts({ ...LEAST, targets }, SALT).private).toBe(
    '{"targets":[{"name":"n","type":"t"},{"metadata":{"a":2,"z":1},"type":"u"}]}',
  );
});

test('a salt of its own gives each event its own digest', () => {
  expect(privateDigest('{}', SALT)).not.toBe(privateDigest('{}', SALT.replace('0', '1')));
});

test.each([
  ['a', 256 * 1024, false],
  ['a', 256 * 1024 + 1, true],
  ['é', 128 * 1024, false],
  ['é', 128 * 1024 + 1, true],
  ['€', 88_000, true],
])('texts of %j × %d are too large: %s', (character, count, tooLarge) => {
  const half = Math.floor(count / 2);
  expect(textsTooLarge({ body: character.repeat(half), private: character.repeat(count - half) })).toBe(
    tooLarge,
  );
});
