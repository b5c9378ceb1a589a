/**
 * Patterns of actions, in searches and in alert rules: `*` stands for any run of characters, or none, and everything
 * else for itself. A pattern without `*` is one action.
 */

/** What stands before, between and behind the stars of a pattern; the pattern itself where it has none. */
export function literalsOf(pattern: string): string[] {
  return pattern.split(/\*+/);
}

export type ActionMatcher = (action: string) => boolean;

/** Whether an action fits one of the patterns, in time that no pattern can make more than their product. */
export function matcherOf(patterns: readonly string[]): ActionMatcher {
  const matchers = patterns.map(matcherOfOne);
  return (action) => matchers.some((fits) => fits(action));
}

function matcherOfOne(pattern: string): ActionMatcher {
  const [head = '', ...inner] = literalsOf(pattern);
  const tail = inner.pop();
  if (tail === undefined) return (action) => action === pattern;
  return (action) => fits(action, { head, inner, tail });
}

interface Parts {
  head: string;
  inner: readonly string[];
  tail: string;
}

/** Each inner text is taken where it is found first: that leaves the most room for those behind it. */
function fits(action: string, { head, inner, tail }: Parts): boolean {
  const end = action.length - tail.length;
  if (end < head.length || !action.startsWith(head) || !action.endsWith(tail)) return false;
  let at = head.length;
  for (const literal of inner) {
    const found = action.indexOf(literal, at);
    if (found === -1 || found + literal.length > end) return false;
    at = found + literal.length;
  }
  return true;
}
