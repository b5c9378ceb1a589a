import { describe, expect, test } from 'vitest';
import examples from '../examples/devops-events.json' with { type: 'json' };
import { ImmutableError } from './errors.ts';
import { completeEvent, EVENT_FIELDS, type EventInput, LIMITS, parseEvent, type Violation } from './event.ts';
import { formatTimestamp } from './time.ts';

const NOW = 1_773_585_138_847_312; // 2026-03-15T14:32:18.847312Z
const LEAST = { actor_id: 'user_1', action: 'document.created' };

function accept(members: object): { event: EventInput; warnings: string[] } {
  const parsed = parseEvent({ ...LEAST, ...members }, NOW);
  if (!parsed.ok) throw new ImmutableError('validation_failed', JSON.stringify(parsed.violations));
  return parsed;
}

/** The violations of an event; `input` is JSON where it is a text, so that any spelling can be tried. */
function refuse(input: unknown): Violation[] {
  const parsed = parseEvent(typeof input === 'string' ? JSON.parse(input) : input, NOW);
  if (parsed.ok) throw new ImmutableError('internal', `accepted: ${JSON.stringify(parsed.event)}`);
  return parsed.violations;
}

function pathsRefused(members: unknown): string[] {
  const input = typeof members === 'object' && !Array.isArray(members) ? { ...LEAST, ...members } : members;
  return refuse(input).map((violation) => violation.path);
}

describe('the event itself', () => {
  test.each(['[]', '"text"', '1', 'null', 'true', '[{"actor_id":"u","action":"a"}]'])(
    '%s is no event',
    (json) => {
      expect(refuse(json)).toEqual([{ path: '', message: 'must be a JSON object' }]);
    },
  );

  test.each(examples.events)('the documented $action is accepted whole', (example) => {
    expect(accept(example)).toMatchObject({ event: example, warnings: [] });
  });

  test('what is not sent is undefined', () => {
    const values = Object.entries(accept({}).event).filter(([, value]) => value !== undefined);
    expect(Object.fromEntries(values)).toEqual(LEAST);
  });
});

describe('actor_id and action are required', () => {
  test.each(['{}', '{"actor_id":null,"action":null}', '{"actor_id":"","action":""}'])('%s', (json) => {
    expect(
      refuse(json)
        .map((violation) => violation.path)
        .sort(),
    ).toEqual(['action', 'actor_id']);
  });

  test('one violation is enough for one that is no text', () => {
    expect(refuse('{"actor_id":7,"action":"a"}')).toEqual([
      { path: 'actor_id', message: 'must be a string' },
    ]);
  });
});

const STRING_FIELDS = EVENT_FIELDS.filter((field) => field.kind === 'string' && field.setBy === 'client');

test('the limits of lengths are those of the API', () => {
  const limits = Object.fromEntries(
    STRING_FIELDS.map((field) => [field.name, 'maxLength' in field && field.maxLength]),
  );
  expect(limits).toEqual({
    action: 255,
    action_category: 255,
    actor_id: 255,
    actor_name: 255,
    actor_type: 255,
    idempotency_key: 255,
    resource: 255,
    resource_id: 1024,
    resource_name: 255,
    session_id: 255,
    tenant_id: 255,
    user_agent: 1024,
  });
});

describe.each(STRING_FIELDS)('$name', (field) => {
  const { name } = field;
  const maxLength = 'maxLength' in field ? field.maxLength : 0;

  test('is kept as given, up to its limit in code points', () => {
    for (const text of ['x', ' ', 'ünï "q"\t\u0000', 'x'.repeat(maxLength), '😀'.repeat(maxLength), 'null']) {
      expect(accept({ [name]: text }).event[name]).toBe(text);
    }
  });

  test('is refused beyond its limit', () => {
    for (const text of [
      'x'.repeat(maxLength + 1),
      '😀'.repeat(maxLength + 1),
      `${'😀'.repeat(maxLength)}x`,
    ]) {
      expect(refuse({ ...LEAST, [name]: text })).toEqual([
        { path: name, message: `is longer than ${maxLength} characters` },
      ]);
    }
  });

  test.each<unknown>([1, 0, true, false, [], ['x'], {}, { toString: 'x' }])('is refused as %j', (value) => {
    expect(refuse({ ...LEAST, [name]: value })).toEqual([{ path: name, message: 'must be a string' }]);
  });

  test('is refused with half a surrogate pair', () => {
    expect(pathsRefused({ [name]: 'a\ud800b' })).toEqual([name]);
    expect(pathsRefused({ [name]: '\udc00\ud800' })).toEqual([name]);
  });

  if (!field.required) {
    test('counts as absent when null or empty', () => {
      for (const value of [null, '', undefined])
        expect(accept({ [name]: value }).event[name]).toBeUndefined();
    });
  }
});

describe('ip_address', () => {
  test.each(['203.0.113.7', '2001:DB8::1', '::ffff:203.0.113.7'])('%s is kept as given', (address) => {
    expect(accept({ ip_address: address }).event.ip_address).toBe(address);
  });

  test.each(['203.0.113', '203.0.113.07', '::1%eth0', '10.0.0.0/8', 'localhost', 2130706433, [], {}])(
    '%j is refused',
    (value) => {
      expect(pathsRefused({ ip_address: value })).toEqual(['ip_address']);
    },
  );

  test.each([null, ''])('%j counts as absent', (value) => {
    expect(accept({ ip_address: value }).event.ip_address).toBeUndefined();
  });
});

describe('occurred_at', () => {
  test.each([
    ['2026-03-15T14:32:17.494881Z', '2026-03-15T14:32:17.494881Z'],
    ['2026-03-15T14:32:17Z', '2026-03-15T14:32:17.000000Z'],
    ['2026-03-15t14:32:17.4948819999z', '2026-03-15T14:32:17.494881Z'],
    ['2026-03-15T20:02:17.5+05:30', '2026-03-15T14:32:17.500000Z'],
    ['1970-01-01T00:00:00Z', '1970-01-01T00:00:00.000000Z'],
  ])('%s becomes %s', (given, kept) => {
    expect(accept({ occurred_at: given }).event.occurred_at).toBe(kept);
  });

  test('is accepted up to five minutes in the future', () => {
    const latest = NOW + 5 * 60 * 1_000_000;
    expect(accept({ occurred_at: formatTimestamp(latest) }).event.occurred_at).toBe(formatTimestamp(latest));
    expect(pathsRefused({ occurred_at: formatTimestamp(latest + 1) })).toEqual(['occurred_at']);
  });

  test.each(['yesterday', '2026-03-15', '1969-12-31T23:59:59Z', '9999-01-01T00:00:00Z', 1773585138, {}, []])(
    '%j is refused',
    (value) => {
      expect(pathsRefused({ occurred_at: value })).toEqual(['occurred_at']);
    },
  );

  test.each([null, ''])('%j counts as absent', (value) => {
    expect(accept({ occurred_at: value }).event.occurred_at).toBeUndefined();
  });
});

describe('version', () => {
  test.each([0, 1, 2 ** 31 - 1])('%d is kept', (version) => {
    expect(accept({ version }).event.version).toBe(version);
  });

  test('spelt -0 or 1.0 it is the integer it is', () => {
    expect(accept(JSON.parse('{"version":-0}')).event.version).toBe(0);
    expect(accept(JSON.parse('{"version":1.0}')).event.version).toBe(1);
  });

  test.each(['-1', '1.5', '2147483648', '1e999', '"1"', 'true', '[]', '{}'])('%s is refused', (json) => {
    expect(pathsRefused(JSON.parse(`{"version":${json}}`))).toEqual(['version']);
  });

  test.each([null, ''])('%j counts as absent', (version) => {
    expect(accept({ version }).event.version).toBeUndefined();
  });
});

/** `levels` objects, one in the other. */
function nested(levels: number): object {
  return JSON.parse(`${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`);
}

/** What holds for any metadata, the event's and a target's. */
describe.each([
  ['metadata', (metadata: unknown) => ({ metadata }), (event: EventInput) => event.metadata, 64 * 1024],
  [
    'targets[0].metadata',
    (metadata: unknown) => ({ targets: [{ type: 'file', metadata }] }),
    (event: EventInput) => event.targets?.[0]?.metadata,
    8 * 1024,
  ],
])('%s', (path, wrap, unwrap, maxBytes) => {
  test.each([
    '{}',
    '{"a":null,"b":[],"c":{},"d":"","e":[null,true,1.5,-7]}',
    '{"n":9007199254740991,"m":-9007199254740991,"small":5e-324}',
    '{"__proto__":{"x":1},"constructor":1,"toString":"t","hasOwnProperty":[]}',
    '{"":1," ":2,"a.b":3,"a":{"b":4},"😀":5}',
  ])('%s is kept as given', (json) => {
    expect(JSON.stringify(unwrap(accept(wrap(JSON.parse(json))).event))).toBe(json);
  });

  test.each([null, ''])('%j counts as absent', (value) => {
    expect(unwrap(accept(wrap(value)).event)).toBeUndefined();
  });

  test('an empty array is an empty object, which PHP spells so', () => {
    expect(unwrap(accept(wrap([])).event)).toEqual({});
  });

  test.each([['x'], 'text', 1, true, [[]]])('%j is refused', (value) => {
    expect(refuse({ ...LEAST, ...wrap(value) })).toEqual([{ path, message: 'must be an object' }]);
  });

  test.each([
    ['{"n":9007199254740992}', '.n'],
    ['{"n":-9007199254740993}', '.n'],
    ['{"n":1e999}', '.n'],
    ['{"n":-1e999}', '.n'],
    ['{"n":9007199254740993.0}', '.n'],
    ['{"n":1e300}', '.n'],
    ['{"list":[1,{"deep":[9e15,1e16]}]}', '.list[1].deep[1]'],
    ['{"s":"\\ud800"}', '.s'],
    ['{"s":["ok","\\udc00 "]}', '.s[1]'],
    ['{"\\ud800":1}', '["�"]'],
    ['{"two words":{"a-b":1e17}}', '["two words"]["a-b"]'],
    ['{"quo\\"te":1e17}', '["quo\\"te"]'],
    ['{"__proto__":1e17}', '.__proto__'],
    ['{"constructor":{"prototype":1e17}}', '.constructor.prototype'],
    ['{"":1e17}', '[""]'],
  ])('%s is refused at %s', (json, where) => {
    expect(refuse({ ...LEAST, ...wrap(JSON.parse(json)) }).map((violation) => violation.path)).toEqual([
      path + where,
    ]);
  });

  test('every bad value is named', () => {
    const paths = pathsRefused(wrap(JSON.parse('{"a":1e17,"b":{"c":"\\ud800","d":[1e17]}}')));
    expect(paths).toEqual([`${path}.a`, `${path}.b.c`, `${path}.b.d[0]`]);
  });

  test.each([
    ['x', 1],
    ['"', 2],
    ['\n', 2],
    ['\u0001', 6],
    ['é', 2],
    ['€', 3],
    ['😀', 4],
  ])('is measured in bytes of canonical JSON, where %j takes %d', (character, bytes) => {
    const count = Math.floor((maxBytes - '{"a":""}'.length) / bytes);
    const largest = { a: character.repeat(count) };
    expect(unwrap(accept(wrap(largest)).event)).toEqual(largest);
    expect(refuse({ ...LEAST, ...wrap({ a: character.repeat(count + 1) }) })).toEqual([
      { path, message: `takes more than ${maxBytes} bytes as canonical JSON` },
    ]);
  });

  test('is refused when nested deeper than 16 levels', () => {
    expect(unwrap(accept(wrap(nested(16))).event)).toEqual(nested(16));
    expect(pathsRefused(wrap(nested(17)))).toEqual([`${path}${'.a'.repeat(16)}`]);
    expect(pathsRefused(wrap({ a: JSON.parse('['.repeat(16) + ']'.repeat(16)) }))).toEqual([
      `${path}.a${'[0]'.repeat(15)}`,
    ]);
  });

  test('a hundred thousand levels are one violation', () => {
    expect(pathsRefused(wrap(nested(100_000)))).toHaveLength(1);
  });

  test('values of no JSON type are refused', () => {
    expect(pathsRefused(wrap({ a: undefined, b: () => 1, c: 1n }))).toEqual([
      `${path}.a`,
      `${path}.b`,
      `${path}.c`,
    ]);
  });
});

describe('metadata', () => {
  const withMembers = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 0]));

  test('has at most 50 members, not counting inner ones', () => {
    expect(accept({ metadata: withMembers(50) }).event.metadata).toEqual(withMembers(50));
    expect(accept({ metadata: { inner: withMembers(51) } }).event.metadata).toEqual({
      inner: withMembers(51),
    });
    expect(refuse({ ...LEAST, metadata: withMembers(51) })).toEqual([
      { path: 'metadata', message: 'has more than 50 members' },
    ]);
  });
});

describe('targets', () => {
  test('are kept in order, without what has no value', () => {
    const { event, warnings } = accept({
      targets: [
        { type: 'b', id: 'i', name: 'n', metadata: { z: 1 } },
        { name: '', id: null, type: 'a', metadata: null },
      ],
    });
    expect(event.targets).toEqual([{ type: 'b', id: 'i', name: 'n', metadata: { z: 1 } }, { type: 'a' }]);
    expect(warnings).toEqual([]);
  });

  test.each([null, '', []])('%j counts as absent', (targets) => {
    expect(accept({ targets }).event.targets).toBeUndefined();
  });

  test.each([{}, { type: 't' }, 'text', 1, true])('%j is refused', (targets) => {
    expect(refuse({ ...LEAST, targets })).toEqual([
      { path: 'targets', message: 'must be an array of objects' },
    ]);
  });

  test('are at most 50', () => {
    const targets = (count: number) => Array.from({ length: count }, () => ({ type: 't' }));
    expect(accept({ targets: targets(50) }).event.targets).toEqual(targets(50));
    expect(refuse({ ...LEAST, targets: targets(51) })).toEqual([
      { path: 'targets', message: 'has more than 50 elements' },
    ]);
  });

  test.each([
    [[null], 'targets[0]'],
    [[{ type: 't' }, []], 'targets[1]'],
    [['t'], 'targets[0]'],
    [[{}], 'targets[0].type'],
    [[{ type: '' }], 'targets[0].type'],
    [[{ type: null }], 'targets[0].type'],
    [[{ type: 1 }], 'targets[0].type'],
    [[{ type: 'x'.repeat(256) }], 'targets[0].type'],
    [[{ type: 't', id: 1 }], 'targets[0].id'],
    [[{ type: 't', id: 'x'.repeat(256) }], 'targets[0].id'],
    [[{ type: 't', name: {} }], 'targets[0].name'],
    [[{ type: 't', name: '\ud800' }], 'targets[0].name'],
  ])('%j is refused at %s', (targets, path) => {
    expect(pathsRefused({ targets })).toEqual([path]);
  });

  test('strings of 255 code points fit', () => {
    const text = '😀'.repeat(255);
    const targets = [{ type: text, id: text, name: text }];
    expect(accept({ targets }).event.targets).toEqual(targets);
  });
});

describe('members that are not known', () => {
  test('are named in warnings and left out', () => {
    const { event, warnings } = accept({
      actorId: 1,
      targets: [{ type: 't', kind: 2 }],
      ip_country: 'DE',
      id: 'x',
    });
    expect(warnings).toEqual([
      "unknown member 'actorId' was ignored",
      "unknown member 'targets[0].kind' was ignored",
      "unknown member 'ip_country' was ignored",
      "unknown member 'id' was ignored",
    ]);
    expect(event).not.toHaveProperty('actorId');
    expect(event).not.toHaveProperty('ip_country');
    expect(event.targets).toEqual([{ type: 't' }]);
  });

  test.each([
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'valueOf',
    'private',
    'workspace_id',
    'ip_city',
  ])('among them %s', (name) => {
    const { event, warnings } = accept(JSON.parse(`{"${name}":{"action":"forged","polluted":true}}`));
    expect(warnings).toEqual([`unknown member '${name}' was ignored`]);
    expect(event.action).toBe(LEAST.action);
    expect(event).not.toHaveProperty('polluted');
    expect({}).not.toHaveProperty('polluted');
  });

  test('required members are not taken from a __proto__', () => {
    expect(refuse('{"__proto__":{"actor_id":"u","action":"a"}}')).toHaveLength(2);
  });

  test('with a name that is no text or too long are named nevertheless', () => {
    expect(accept(JSON.parse('{"\\ud800":1}')).warnings).toEqual(["unknown member '�' was ignored"]);
    expect(accept({ ['x'.repeat(1000)]: 1 }).warnings).toEqual([
      `unknown member '${'x'.repeat(64)}…' was ignored`,
    ]);
  });
});

describe('reports stay small', () => {
  test('of warnings', () => {
    const { warnings } = accept(
      Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`x${index}`, 0])),
    );
    expect(warnings).toHaveLength(21);
    expect(warnings.at(-1)).toBe('and 980 more');
  });

  test('of violations', () => {
    const violations = refuse({ ...LEAST, metadata: { list: Array.from({ length: 1000 }, () => 1e17) } });
    expect(violations).toHaveLength(21);
    expect(violations.at(-1)).toEqual({ path: '', message: 'and 980 more' });
  });

  test('of long names', () => {
    const [violation] = refuse({ ...LEAST, metadata: { ['x'.repeat(60_000)]: 1e17 } });
    expect(violation?.path).toBe(`metadata["${'x'.repeat(64)}…"]`);
  });
});

test('several violations are told at once', () => {
  const paths = pathsRefused({ actor_name: 1, version: -1, metadata: { n: 1e17 }, targets: [{}] });
  expect(paths).toEqual(['actor_name', 'version', 'metadata.n', 'targets[0].type']);
});

test('parsing leaves its input as it was', () => {
  const input = { ...LEAST, metadata: { b: 1, a: [] }, targets: [{ type: 't', x: 1 }], version: null };
  const before = structuredClone(input);
  parseEvent(input, NOW);
  expect(input).toEqual(before);
});

describe('completeEvent', () => {
  const facts = { id: 'i', workspaceId: 'w', receivedAt: '2026-03-15T14:32:18.847312Z' };

  test('adds what the client did not say', () => {
    const complete = completeEvent(accept({}).event, {
      ...facts,
      callerAddress: '::1',
      ipCountry: 'DE',
      ipCity: 'Bonn',
    });
    expect(complete).toMatchObject({
      ...LEAST,
      id: 'i',
      workspace_id: 'w',
      occurred_at: facts.receivedAt,
      ip_address: '::1',
      ip_country: 'DE',
      ip_city: 'Bonn',
    });
  });

  test('keeps every member that the client said', () => {
    const sent = {
      ...examples.events[0],
      ip_address: '203.0.113.7',
      occurred_at: '2026-03-15T14:32:17.494881Z',
      targets: [{ type: 't' }],
      version: 3,
      ...Object.fromEntries(STRING_FIELDS.map(({ name }) => [name, `the ${name}`])),
    };
    expect(completeEvent(accept(sent).event, { ...facts, callerAddress: '::1' })).toMatchObject(sent);
  });
});

test('the limits are those of the API', () => {
  expect(LIMITS).toMatchObject({ textsBytes: 262_144, batchEvents: 100, requestBytes: 8_388_608 });
});
