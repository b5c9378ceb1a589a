import { KNOWN } from './query-rows.ts';

/** What a reader of the log may ask; `of(n)` varies the values, so that no cache of answers does the work. */
export interface Question {
  name: string;
  of(n: number): Record<string, string>;
  /** May be refused for its cost (422), and is measured all the same. */
  costly?: boolean;
}

/** `sessions` are some that exist; `day` gives a day within the rows as `from` and `to`. */
export function questions({
  sessions,
  day,
}: {
  sessions: readonly string[];
  day(n: number): { from: string; to: string };
}): Question[] {
  const rare = (n: number, count: number) => count - 1 - ((n * 97) % Math.floor(count / 4));
  const one = (name: string, ...ofValues: [string, (n: number) => string][]): Question[] =>
    ofValues.map(([kind, value]) => ({ name: `${name} ${kind}`, of: (n) => ({ [name]: value(n) }) }));
  const cycle =
    <Item extends string>(items: readonly Item[]) =>
    (n: number) =>
      items[n % items.length] ?? '';
  const session = cycle(sessions);

  return [
    { name: 'no filter', of: () => ({}) },
    { name: 'from, to', of: day },
    ...one(
      'actor_id',
      ['frequent', (n) => KNOWN.actor(n % 8)],
      ['rare', (n) => KNOWN.actor(rare(n, KNOWN.actors))],
      ['absent', (n) => `nobody_${n}`],
    ),
    ...one('actor_type', ['rarer', () => 'service'], ['absent', (n) => `type_${n}`]),
    ...one(
      'action',
      ['exact', (n) => `${cycle(KNOWN.resources)(n)}.viewed`],
      ['prefix.*', (n) => `${cycle(KNOWN.resources)(n)}.*`],
      ['*.suffix', (n) => `*.${cycle(KNOWN.verbs)(n)}`],
      ['absent', (n) => `nothing.${n}`],
      ['absent.*', (n) => `nothing${n}.*`],
      ['*.absent', (n) => `*.nothing${n}`],
    ),
    ...one('action_category', ['security', () => 'security'], ['absent', (n) => `category_${n}`]),
    ...one('resource', ['one', cycle(KNOWN.resources)], ['absent', (n) => `thing_${n}`]),
    ...one(
      'resource_id',
      ['frequent', (n) => KNOWN.resourceId(n % 8)],
      ['rare', (n) => KNOWN.resourceId(rare(n, KNOWN.resourceIds))],
      ['absent', (n) => `none_${n}`],
    ),
    ...one(
      'tenant_id',
      ['frequent', (n) => KNOWN.tenant(n % 8)],
      ['rare', (n) => KNOWN.tenant(rare(n, KNOWN.tenants))],
      ['absent', (n) => `none_${n}`],
    ),
    ...one('session_id', ['one', session], ['absent', (n) => `sess_none_${n}`]),
    ...one('ip_country', ['frequent', () => 'US'], ['rare', () => 'NZ'], ['absent', () => 'AQ']),
    ...one('target_type', ['one', cycle(['folder', 'team', 'project'])], ['absent', (n) => `none_${n}`]),
    ...one(
      'target_id',
      ['frequent', (n) => KNOWN.target(n % 8)],
      ['rare', (n) => KNOWN.target(rare(n, KNOWN.targets))],
      ['absent', (n) => `none_${n}`],
    ),
    ...one(
      'search',
      ['frequent word', () => KNOWN.frequentWord],
      ['rare word', () => KNOWN.rareWord],
      ['absent word', (n) => `unheard${n}of`],
      ['3 letters', cycle(['qua', 'oce', 'chen', 'dow'])],
      ['3 absent letters', cycle(['qqq', 'zzq', 'xqj'])],
    ),
    { name: 'search 2 letters', of: (n) => ({ search: cycle(['ar', 'zi', 'ed'])(n) }), costly: true },
    { name: 'search 2 absent letters', of: (n) => ({ search: cycle(['qq', 'xj', 'zq'])(n) }), costly: true },
    {
      name: 'actor_id + action',
      of: (n) => ({ actor_id: KNOWN.actor(n % 50), action: '*.deleted' }),
    },
    {
      name: 'tenant_id + resource + from, to',
      of: (n) => ({ tenant_id: KNOWN.tenant(n % 50), resource: cycle(KNOWN.resources)(n), ...day(n) }),
    },
    {
      name: 'search + action',
      of: (n) => ({ search: KNOWN.frequentWord, action: `${cycle(KNOWN.resources)(n)}.*` }),
    },
    {
      name: 'target_type + target_id',
      of: (n) => ({ target_type: 'folder', target_id: KNOWN.target(n % 50) }),
    },
    {
      name: 'search 2 letters + from, to',
      of: (n) => ({ search: cycle(['qq', 'xj', 'zq'])(n), ...day(n) }),
    },
  ];
}
