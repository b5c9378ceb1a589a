import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8Length } from '../../core/bytes.ts';
import { canonicalTexts, textsTooLarge } from '../../core/canonical.ts';
import { completeEvent, EVENT_FIELDS, type EventInput, parseEvent } from '../../core/event.ts';
import { canonicalJson, canonicalSize } from '../../core/json.ts';
import { propertyRuns } from '../support/property-runs.ts';
import { anyJson, anyText, keepableJson, keepableObject, text } from './arbitraries.ts';

const NOW = 1_773_585_138_847_312;
const RECEIVED_AT = '2026-03-15T14:32:18.847312Z';
const SALT = '0123456789abcdef0123456789abcdef';

function textsOf(event: EventInput) {
  return canonicalTexts(completeEvent(event, { id: 'i', workspaceId: 'w', receivedAt: RECEIVED_AT }), SALT);
}

const target = fc.record(
  { type: text(1, 60), id: text(0, 60), name: text(0, 60), metadata: keepableObject },
  { requiredKeys: ['type'] },
);

const STRING_FIELDS = EVENT_FIELDS.filter((field) => field.kind === 'string' && field.setBy === 'client');
const members: Record<string, fc.Arbitrary<unknown>> = {
  ...Object.fromEntries(STRING_FIELDS.map((field) => [field.name, text(field.required ? 1 : 0, 100)])),
  metadata: keepableObject,
  targets: fc.array(target, { maxLength: 5 }),
  version: fc.nat(),
  ip_address: fc.oneof(fc.ipV4(), fc.ipV6()),
};
const validEvent = fc.record(members, { requiredKeys: ['action', 'actor_id'] });

test('what goes in comes out of the texts, and nothing else', () => {
  fc.assert(
    fc.property(validEvent, (input) => {
      const parsed = parseEvent(input, NOW);
      if (!parsed.ok) throw new Error(JSON.stringify(parsed.violations));
      const texts = textsOf(parsed.event);
      const { private: digest, ...body } = JSON.parse(texts.body);
      expect(digest).toMatch(/^[\da-f]{64}$/);
      expect({ ...body, ...JSON.parse(texts.private) }).toEqual({
        ...JSON.parse(JSON.stringify(withoutAbsent(input))),
        id: 'i',
        workspace_id: 'w',
        occurred_at: RECEIVED_AT,
      });
    }),
    propertyRuns(300),
  );
});

/** The event without members that count as absent. */
function withoutAbsent(input: Record<string, unknown>): Record<string, unknown> {
  const present = Object.entries(input).filter(([, value]) => value !== '' && !isEmptyArray(value));
  return Object.fromEntries(
    present.map(([name, value]) => [name, name === 'targets' ? targetsOf(value) : value]),
  );
}

function targetsOf(value: unknown): unknown {
  return Array.isArray(value) ? value.map(withoutAbsent) : value;
}

function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

test('the texts do not depend on the order of members', () => {
  fc.assert(
    fc.property(validEvent, (input) => {
      const reversed = Object.fromEntries(Object.entries(input).reverse());
      const [one, other] = [parseEvent(input, NOW), parseEvent(reversed, NOW)];
      if (!one.ok || !other.ok) throw new Error('refused');
      expect(textsOf(other.event)).toEqual(textsOf(one.event));
    }),
  );
});

test('any JSON at all is judged without a throw, and what is accepted has canonical texts', () => {
  const anyEvent = fc.oneof(
    anyJson,
    fc.record(
      Object.fromEntries(
        [...EVENT_FIELDS.map((field) => field.name), 'another'].map((name) => [name, anyJson]),
      ),
      { requiredKeys: [] },
    ),
    fc
      .tuple(text(1, 9), text(1, 9), anyJson)
      .map(([action, actor_id, metadata]) => ({ action, actor_id, metadata })),
    fc
      .tuple(text(1, 9), text(1, 9), anyJson)
      .map(([action, actor_id, targets]) => ({ action, actor_id, targets })),
  );
  fc.assert(
    fc.property(anyEvent, (input) => {
      const parsed = parseEvent(input, NOW);
      if (!parsed.ok) {
        expect(parsed.violations.length).toBeGreaterThan(0);
        for (const { path, message } of parsed.violations) expect((path + message).isWellFormed()).toBe(true);
        return;
      }
      const texts = textsOf(parsed.event);
      for (const canonical of [texts.body, texts.private]) {
        expect(canonicalJson(JSON.parse(canonical))).toBe(canonical);
        expect(canonical).not.toMatch(/[\t\n]/);
      }
      expect(textsTooLarge(texts)).toBe(utf8Length(texts.body) + utf8Length(texts.private) > 256 * 1024);
    }),
    propertyRuns(1000),
  );
});

test('canonical JSON gives back the value, has one spelling, and the size foretold', () => {
  fc.assert(
    fc.property(keepableJson, (value) => {
      const canonical = canonicalJson(value);
      expect(JSON.parse(canonical)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalJson(JSON.parse(canonical))).toBe(canonical);
      expect(canonicalSize(value)).toBe(new TextEncoder().encode(canonical).length);
    }),
    propertyRuns(1000),
  );
});

test('texts that are not well-formed are refused, all others accepted', () => {
  fc.assert(
    fc.property(anyText, (value) => {
      fc.pre(value !== '');
      const inString = parseEvent({ action: value, actor_id: 'u' }, NOW);
      const inMetadata = parseEvent({ action: 'a', actor_id: 'u', metadata: { list: [value] } }, NOW);
      const asName = parseEvent({ action: 'a', actor_id: 'u', metadata: { [value]: 1 } }, NOW);
      expect([inString.ok, inMetadata.ok, asName.ok]).toEqual(Array(3).fill(value.isWellFormed()));
    }),
    propertyRuns(500),
  );
});
