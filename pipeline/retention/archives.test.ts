import { describe, expect, it } from 'vitest';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { archiveKeys, listArchives } from './archives.ts';

const A = 'ws_00000000000000aa';
const B = 'ws_00000000000000bb';

function holding(keys: string[]): ObjectStore {
  const never = () => Promise.reject(new Error('not asked for'));
  return {
    put: never,
    compose: never,
    read: never,
    stat: never,
    remove: never,
    presignedUrl: never,
    async *list(prefix) {
      for (const key of keys) if (key.startsWith(prefix)) yield { key, bytes: 1, modifiedAtMs: 0 };
    },
  };
}

describe('the names of archives', () => {
  const names = [
    { workspaceId: A, first: 1, last: 9 },
    { workspaceId: A, first: 10, last: 123_456_789 },
    { workspaceId: B, first: 1, last: 2 },
  ];
  const keys = names.flatMap((name) => Object.values(archiveKeys(name)));

  it('sort as the chain does, and are read back', async () => {
    expect(keys[0]).toBe(`archives/${A}/000000000000001-000000000000009.jsonl.gz`);
    expect(keys.toSorted()).toEqual(keys);
    expect(await listArchives(holding(keys.toReversed()))).toEqual(names);
    expect(await listArchives(holding(keys), A)).toEqual(names.slice(0, 2));
  });

  it('are those of whole archives: a manifest is written last', async () => {
    const unfinished = keys.filter((key) => key.endsWith('.gz'));
    const others = ['archives/readme.txt', `archives/${A}/x-y.manifest.json`, `exports/${A}/1.manifest.json`];
    expect(await listArchives(holding([...unfinished, ...others]))).toEqual([]);
  });
});
