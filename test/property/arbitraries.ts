import fc from 'fast-check';

/** Well-formed text of `min` to `max` code points, from every plane. */
export function text(min: number, max: number): fc.Arbitrary<string> {
  return fc.string({ unit: 'binary', minLength: min, maxLength: max });
}

/** UTF-16 units at random, many of them halves of surrogate pairs. */
export const anyText: fc.Arbitrary<string> = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0xd800, max: 0xdfff })), {
    maxLength: 12,
  })
  .map((units) => String.fromCharCode(...units));

const keepableNumber = fc.oneof(
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
);

const { value: keepable } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    text(0, 20),
    keepableNumber,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(name(), tie('value'), { maxKeys: 6 }),
  ),
}));

/** Any JSON value that canonical JSON gives back unchanged. */
export const keepableJson: fc.Arbitrary<unknown> = keepable;

/** Such an object with few members. */
export const keepableObject: fc.Arbitrary<Record<string, unknown>> = fc.dictionary(name(), keepableJson, {
  maxKeys: 8,
});

/** Names of members, among them those that objects inherit and those that look like indexes. */
function name(): fc.Arbitrary<string> {
  return fc.oneof(
    text(0, 12),
    fc.constantFrom('constructor', 'toString', 'hasOwnProperty', 'valueOf', '0', '10', '9', 'a', 'b'),
  );
}

/** Whatever `JSON.parse` may return: also numbers beyond every bound and half characters. */
export const anyJson: fc.Arbitrary<unknown> = fc.oneof(fc.jsonValue({ maxDepth: 6 }), hostileJson());

function hostileJson(): fc.Arbitrary<unknown> {
  const piece = fc.constantFrom(
    '1e999',
    '-1e999',
    '9007199254740992',
    '"\\ud800"',
    '{"__proto__":{"action":"a","actor_id":"u"}}',
    '{"\\udfff":1}',
    '[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]',
    'null',
    '""',
    '[]',
    '{}',
  );
  return fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => {
    const members = pieces.map((json, index) => `"m${index}":${json}`);
    return JSON.parse(pieces.length % 2 === 0 ? `[${pieces.join(',')}]` : `{${members.join(',')}}`);
  });
}
