import { describe, expect, test } from 'vitest';
import { utf8Length } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import { canonicalJson, canonicalSize, hasTwins, isJsonObject } from './json.ts';

describe('numbers (RFC 8785 §3.2.2.3 and appendix B)', () => {
  test.each([
    [0, '0'],
    [-0, '0'],
    [Number.MIN_VALUE, '5e-324'],
    [-Number.MIN_VALUE, '-5e-324'],
    [Number.MAX_VALUE, '1.7976931348623157e+308'],
    [9007199254740991, '9007199254740991'],
    [-9007199254740991, '-9007199254740991'],
    [295147905179352830000, '295147905179352830000'],
    [9.999999999999997e22, '9.999999999999997e+22'],
    [1e23, '1e+23'],
    [1.0000000000000001e23, '1.0000000000000001e+23'],
    [999999999999999700000, '999999999999999700000'],
    [1e21, '1e+21'],
    [9.999999999999997e-7, '9.999999999999997e-7'],
    [0.000001, '0.000001'],
    [333333333.3333332, '333333333.3333332'],
    [333333333.33333325, '333333333.33333325'],
    [-0.0000033333333333333333, '-0.0000033333333333333333'],
    [1424953923781206.2, '1424953923781206.2'],
    [1e-27, '1e-27'],
    [4.5, '4.5'],
    [2e-3, '0.002'],
    [1e30, '1e+30'],
  ])('%d is %s', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
    expect(JSON.parse(text)).toBe(value === 0 ? 0 : value);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d is refused', (value) => {
    expect(() => canonicalJson({ a: [value] })).toThrow(ImmutableError);
  });
});

describe('strings (§3.2.2.2)', () => {
  test('escapes the example of the RFC as it does', () => {
    expect(canonicalJson('€$\u000f\nA\'B"\\\\"/')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"');
  });

  test.each([
    ['\b\t\n\f\r', '"\\b\\t\\n\\f\\r"'],
    ['\u0000\u001f\u007f', '"\\u0000\\u001f\u007f"'],
    ['\u2028\u2029</script>', '"\u2028\u2029</script>"'],
    ['😀', '"😀"'],
    ['\ufeff\uffff', '"\ufeff\uffff"'],
    ['a"b', '"a\\"b"'],
    ['a\\b', '"a\\\\b"'],
    ['', '""'],
  ])('%j', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
    expect(canonicalJson({ [value]: 1 })).toBe(`{${text}:1}`);
  });

  test.each(['\ud800', 'a\udc00', '\udc00\ud800', '\ud83d '])('a lone surrogate is refused: %j', (value) => {
    expect(() => canonicalJson(value)).toThrow(ImmutableError);
    expect(() => canonicalJson({ [value]: 1 })).toThrow(ImmutableError);
  });
});

describe('objects (§3.2.3)', () => {
  test('the example of the RFC: by UTF-16 units, so that 😀 stands before U+FB33', () => {
    const value = JSON.parse(
      '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",' +
        '"\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}',
    );
    expect(canonicalJson(value)).toBe(
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",' +
        '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    );
  });

  test('names that are integers are sorted as texts', () => {
    expect(canonicalJson({ 10: 'c', 9: 'd', 1: 'b', '': 'a' })).toBe('{"":"a","1":"b","10":"c","9":"d"}');
  });

  test('many names are sorted as few are', () => {
    const names = Array.from({ length: 100 }, (_, index) => `n${(index * 37) % 100}`);
    const object = Object.fromEntries(names.map((name) => [name, 0]));
    expect(Object.keys(JSON.parse(canonicalJson(object)))).toEqual([...names].sort());
  });

  test('members without a value are left out, null is kept', () => {
    expect(canonicalJson({ a: undefined, b: null, c: undefined })).toBe('{"b":null}');
    expect(canonicalJson({ a: undefined })).toBe('{}');
  });

  test('names of Object.prototype are names like any other', () => {
    const text = '{"__proto__":{"a":1},"constructor":2,"toString":3}';
    expect(canonicalJson(JSON.parse(text))).toBe(text);
  });

  test('a label that was kept is not mistaken for another', () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `name ${index}`);
    expect(names.map((name) => canonicalJson({ [name]: 1 }))).toEqual(names.map((name) => `{"${name}":1}`));
  });
});

test('empty and nested containers', () => {
  expect(canonicalJson({ b: [], a: {}, c: [[], [{}], [1, [2]]] })).toBe(
    '{"a":{},"b":[],"c":[[],[{}],[1,[2]]]}',
  );
});

test.each([undefined, () => 1, Symbol('s'), 1n, [undefined]])('what is no JSON is refused: %o', (value) => {
  expect(() => canonicalJson(value)).toThrow(ImmutableError);
});

test('a hundred thousand levels end in an error, not in a full stack', () => {
  const deep = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000));
  expect(() => canonicalJson(deep)).toThrow(/nesting/);
});

test.each([
  [null],
  [true],
  [-0],
  [1e21],
  [''],
  ['"\\\b\t\n\f\r\u0000\u001f\u007fé€😀'],
  [[]],
  [{}],
  [{ 'é"': [1, 2.5, null, { x: 'y' }], z: {} }],
])('canonicalSize of %j is the length of its canonical JSON', (value) => {
  expect(canonicalSize(value)).toBe(utf8Length(canonicalJson(value)));
});

test('isJsonObject', () => {
  expect([{}, { a: 1 }].map(isJsonObject)).toEqual([true, true]);
  expect([null, [], '', 1, undefined].map(isJsonObject)).toEqual([false, false, false, false, false]);
});

describe('a member that stands twice', () => {
  test.each([
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{ "a" : 1 , "b" : { "c" : [ { "x" : 1 , "x" : 2 } ] } }',
    '[{"a":"}","a":"{"}]',
    '{"__proto__":1,"__proto__":2}',
    '{"":1,"":2}',
  ])('is found: %s', (text) => {
    expect(hasTwins(text, JSON.parse(text))).toBe(true);
  });

  test.each([
    '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}',
    '{"a":"a\\":1,\\"a","b":"\\\\"}',
    '["a","a"]',
    '{"a":["b","b"],"b":"b"}',
    '"a"',
    '7',
    '{}',
  ])('is not seen where there is none: %s', (text) => {
    expect(hasTwins(text, JSON.parse(text))).toBe(false);
  });

  test('is looked for however deep the text is', () => {
    const text = `${'['.repeat(100_000)}{"a":1,"a":2}${']'.repeat(100_000)}`;
    expect(hasTwins(text, JSON.parse(text))).toBe(true);
  });
});
