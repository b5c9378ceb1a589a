import { expect, test } from 'vitest';
import { rfc6962Cases } from '../support/rfc6962-cases.ts';

/** `npx vitest run --project unit test/property/rfc6962 -u` writes the file anew. */
const TEXT = rfc6962Cases();

interface Cases {
  inclusion: { about: string; expect: string }[];
  consistency: { about: string; expect: string }[];
}

const { inclusion, consistency }: Cases = JSON.parse(TEXT);

function countBy(cases: readonly { expect: string }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of cases) counts[one.expect] = (counts[one.expect] ?? 0) + 1;
  return counts;
}

test('the file is what the reference makes, byte for byte', async () => {
  expect(TEXT.length).toBeLessThan(2 * 1024 * 1024);
  await expect(TEXT).toMatchFileSnapshot('../vectors/rfc6962-cases.json');
});

test('every proof as it should be is valid', () => {
  const proper = [...inclusion, ...consistency].filter(({ about }) => about.endsWith(': as it should be'));
  expect(proper.length).toBeGreaterThan(60);
  expect(proper.filter((one) => one.expect !== 'valid')).toEqual([]);
});

test('what is valid although it was changed is known, one by one', () => {
  const changed = [...inclusion, ...consistency]
    .filter((one) => one.expect === 'valid' && !one.about.endsWith(': as it should be'))
    .map(({ about }) => about);
  expect(changed).toMatchInlineSnapshot(`
    [
      "leaf 0 of 3: one leaf more",
      "leaf 1 of 3: one leaf more",
      "leaf 2 of 6: one leaf more",
      "leaf 2 of 6: one leaf less",
      "leaf 5 of 7: one leaf more",
      "leaf 0 of 8: one leaf less",
      "leaf 9 of 15: one leaf more",
      "leaf 9 of 15: one leaf less",
      "leaf 100 of 256: one leaf less",
      "leaf 65535 of 65537: one leaf more",
      "leaf 5 of 4294967295: one leaf more",
      "leaf 5 of 4294967295: one leaf less",
      "leaf 4294967301 of 8589934599: one leaf more",
      "leaf 4294967301 of 8589934599: one leaf less",
      "leaf 4294967301 of 8589934599: a size 2^32 on",
      "leaf 1099511627775 of 1101659111425: one leaf more",
      "leaf 1099511627775 of 1101659111425: one leaf less",
      "leaf 1099511627775 of 1101659111425: a size 2^32 on",
      "leaf 0 of 9007199254740991: one leaf less",
      "leaf 0 of 9007199254740991: a size 2^32 back",
      "from 0 to 0: the second size one more",
      "from 0 to 0: the second size 2^32 on",
      "from 0 to 1: the second size one more",
      "from 0 to 1: the second size 2^32 on",
      "from 0 to 1: a bit of the second root flipped",
      "from 0 to 1: the second root of one leaf more",
      "from 0 to 1: the second log rewritten, with its own path",
      "from 0 to 7: the second size one more",
      "from 0 to 7: the second size one less",
      "from 0 to 7: the second size doubled",
      "from 0 to 7: the second size 2^32 on",
      "from 0 to 7: a bit of the second root flipped",
      "from 0 to 7: the second root of one leaf more",
      "from 0 to 7: the second root that of the empty tree",
      "from 0 to 7: the second log rewritten, with its own path",
      "from 1 to 3: the second size one more",
      "from 2 to 3: the second size one more",
      "from 2 to 4: the second size one less",
      "from 3 to 5: the second size one more",
      "from 4 to 5: the second size one more",
      "from 4 to 8: the second size one less",
      "from 5 to 8: the second size one less",
      "from 6 to 7: the second size one more",
      "from 6 to 13: the second size one more",
      "from 6 to 13: the second size one less",
      "from 7 to 7: the first size zero, with the root of nothing",
      "from 8 to 9: the second size one more",
      "from 8 to 8: the first size zero, with the root of nothing",
      "from 9 to 16: the second size one less",
      "from 15 to 17: the second size one more",
      "from 16 to 33: the second size one more",
      "from 255 to 257: the second size one more",
      "from 256 to 1000: the second size one more",
      "from 256 to 1000: the second size one less",
      "from 2147483648 to 2147483649: the second size one more",
      "from 2147483649 to 4294967297: the second size one more",
      "from 4294967296 to 4294967297: the second size one more",
      "from 4294967297 to 8589934592: the second size one less",
      "from 1099511627779 to 1103806595072: the second size one less",
      "from 1 to 9007199254740991: the second size one less",
      "from 4503599627370496 to 9007199254740991: the second size one less",
    ]
  `);
});

test('each reason to refuse occurs many times', () => {
  expect(inclusion.length + consistency.length).toBeGreaterThanOrEqual(518);
  expect({ inclusion: countBy(inclusion), consistency: countBy(consistency) }).toMatchInlineSnapshot(`
    {
      "consistency": {
        "first_root_mismatch": 164,
        "hash_length": 200,
        "path_too_long": 382,
        "path_too_short": 173,
        "second_root_mismatch": 294,
        "size_not_a_count": 100,
        "sizes_swapped": 82,
        "valid": 73,
      },
      "inclusion": {
        "hash_length": 336,
        "index_beyond_size": 233,
        "path_too_long": 233,
        "path_too_short": 206,
        "root_mismatch": 499,
        "size_not_a_count": 123,
        "valid": 51,
      },
    }
  `);
});
