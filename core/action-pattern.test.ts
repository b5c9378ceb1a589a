import { describe, expect, it } from 'vitest';
import { matcherOf } from './action-pattern.ts';

const CASES: [pattern: string, fitting: string[], others: string[]][] = [
  [
    'document.created',
    ['document.created'],
    ['document.create', 'document.created.', 'Document.created', ''],
  ],
  ['*', ['', 'a', 'document.created'], []],
  ['document.*', ['document.', 'document.created', 'document.a.b'], ['document', 'my.document.created']],
  ['*.deleted', ['.deleted', 'user.deleted', 'a.b.deleted'], ['deleted', 'user.deleted.again']],
  ['a*b*c', ['abc', 'a-b-c', 'abbc', 'acbc'], ['ab', 'acb', 'abcd', 'xabc']],
  ['ab*ba', ['abba', 'ab-ba'], ['aba', 'ab']],
  ['a**b', ['ab', 'a*b', 'axb'], ['a']],
  ['*x*x*', ['xx', 'axbxc'], ['x', 'axb']],
  ['a.c', ['a.c'], ['abc']],
  ['%_?\\', ['%_?\\'], ['abc\\']],
  ['*ö', ['ö', 'größö'], ['o']],
];

describe('matcherOf', () => {
  it.each(CASES)('%s', (pattern, fitting, others) => {
    const isFitting = matcherOf([pattern]);
    expect(fitting.filter((action) => !isFitting(action))).toEqual([]);
    expect(others.filter(isFitting)).toEqual([]);
  });

  it('of several patterns takes what fits one', () => {
    const isFitting = matcherOf(['*.deleted', 'user.created']);
    expect(['a.deleted', 'user.created', 'a.created'].map(isFitting)).toEqual([true, true, false]);
  });

  it('is not slowed down by a pattern made for that', () => {
    const pattern = `${'a*'.repeat(120)}b`;
    const before = performance.now();
    expect(matcherOf([pattern])('a'.repeat(255))).toBe(false);
    expect(performance.now() - before).toBeLessThan(1_000); // a regular expression would not come back
  });
});
