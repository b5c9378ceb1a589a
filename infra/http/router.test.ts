import { describe, expect, it } from 'vitest';
import { createRouter } from './router.ts';
import type { Route } from './types.ts';

const route = (method: Route['method'], path: string): Route => ({
  method,
  path,
  handler: () => ({ status: 200 }),
});

describe('the router', () => {
  const search = route('GET', '/events');
  const send = route('POST', '/events');
  const one = route('GET', '/events/:id');
  const find = createRouter([search, send, one, route('DELETE', '/events/:name')]);

  it.each([
    ['GET', '/events', search, {}],
    ['HEAD', '/events', search, {}],
    ['POST', '/events', send, {}],
    ['GET', '/events/a%20b', one, { id: 'a b' }],
  ])('finds %s %s', (method, path, expected, params) => {
    expect(find(method, path)).toEqual({ kind: 'found', route: expected, params });
  });

  it('takes the rest of a path as one parameter, as it was sent', () => {
    const tile = route('GET', '/logs/:id/tile/*path');
    const findTile = createRouter([tile, route('GET', '/logs/:id/checkpoint')]);
    expect(findTile('GET', '/logs/a/tile/0/x001/002')).toEqual({
      kind: 'found',
      route: tile,
      params: { id: 'a', path: '0/x001/002' },
    });
    expect(findTile('GET', '/logs/a/tile/%2e%2e/b')).toMatchObject({ params: { path: '%2e%2e/b' } });
    expect(findTile('POST', '/logs/a/tile/0')).toEqual({ kind: 'wrong_method', allow: 'GET, HEAD' });
    for (const path of ['/logs/a/tile', '/logs/a/tile/', '/logs//tile/0', '/logs/a/tiles/0']) {
      expect(findTile('GET', path)).toEqual({ kind: 'unknown' });
    }
  });

  it('names each parameter as its own route does', () => {
    expect(find('DELETE', '/events/7')).toMatchObject({ kind: 'found', params: { name: '7' } });
  });

  it('lists what a path takes', () => {
    expect(find('DELETE', '/events')).toEqual({ kind: 'wrong_method', allow: 'GET, HEAD, POST' });
    expect(find('POST', '/events/7')).toEqual({ kind: 'wrong_method', allow: 'GET, HEAD, DELETE' });
  });

  it.each(['', '/', 'events', '/events/', '/Events', '/events/a/b', '/events/%', '/events/%ff'])(
    'knows nothing at "%s"',
    (path) => {
      expect(find('GET', path)).toEqual({ kind: 'unknown' });
    },
  );

  it('refuses two routes for the same', () => {
    expect(() => createRouter([one, route('GET', '/events/:other')])).toThrow('two routes');
  });
});
