import type { HttpMethod, Route } from './types.ts';

export type Params = Readonly<Record<string, string>>;

export type Routing =
  | { kind: 'found'; route: Route; params: Params }
  /** The path exists; `allow` lists what it takes, as the header wants it. */
  | { kind: 'wrong_method'; allow: string }
  | { kind: 'unknown' };

export type Router = (method: string, path: string) => Routing;

interface Place {
  segments: string[];
  routes: Map<string, Route>;
}

const UNKNOWN: Routing = { kind: 'unknown' };
const NO_PARAMS: Params = Object.freeze({});

/** Literal paths are one map look-up; those with parameters are compared segment by segment, in the given order. */
export function createRouter(routes: readonly Route[]): Router {
  const literal = new Map<string, Map<string, Routing>>();
  const patterns: Place[] = [];
  for (const place of placesOf(routes)) {
    if (place.segments.some(isPattern)) patterns.push(place);
    else literal.set(place.segments.join('/'), foundByMethod(place));
  }

  return (method, path) => {
    const found = literal.get(path);
    if (found !== undefined) return found.get(method) ?? wrongMethod([...found.keys()]);
    return matchPattern(patterns, method, path);
  };
}

function placesOf(routes: readonly Route[]): Place[] {
  const places = new Map<string, Place>();
  for (const route of routes) {
    const segments = route.path.split('/');
    const shape = segments.map((segment) => (isPattern(segment) ? segment.charAt(0) : segment)).join('/');
    const place = places.get(shape) ?? { segments, routes: new Map<string, Route>() };
    if (place.routes.has(route.method)) throw new Error(`two routes for ${route.method} ${route.path}`);
    place.routes.set(route.method, route);
    places.set(shape, place);
  }
  for (const place of places.values()) {
    const get = place.routes.get('GET');
    if (get !== undefined) place.routes.set('HEAD', get);
  }
  return [...places.values()];
}

function foundByMethod(place: Place): Map<string, Routing> {
  return new Map(
    [...place.routes].map(([method, route]) => [method, { kind: 'found', route, params: NO_PARAMS }]),
  );
}

function matchPattern(patterns: readonly Place[], method: string, path: string): Routing {
  const given = path.split('/');
  for (const place of patterns) {
    if (!fits(place.segments, given)) continue;
    const route = place.routes.get(method);
    if (route === undefined) return wrongMethod([...place.routes.keys()]);
    const params = paramsOf(route, given);
    return params === undefined ? UNKNOWN : { kind: 'found', route, params };
  }
  return UNKNOWN;
}

function fits(pattern: readonly string[], given: readonly string[]): boolean {
  const isOpen = isTail(pattern.at(-1) ?? '');
  return (
    (isOpen ? given.length >= pattern.length : given.length === pattern.length) &&
    pattern.every((segment, index) => (isPattern(segment) ? given[index] !== '' : segment === given[index]))
  );
}

function paramsOf(route: Route, given: readonly string[]): Params | undefined {
  try {
    const pairs = route.path.split('/').flatMap((segment, index) => {
      if (isTail(segment)) return [[segment.slice(1), given.slice(index).join('/')]];
      return isParameter(segment) ? [[segment.slice(1), decodeURIComponent(given[index] ?? '')]] : [];
    });
    return Object.fromEntries(pairs);
  } catch {
    return undefined; // a percent sign that encodes nothing
  }
}

function isPattern(segment: string): boolean {
  return isParameter(segment) || isTail(segment);
}

function isParameter(segment: string): boolean {
  return segment.startsWith(':');
}

/** The rest of the path, of one segment or more. */
function isTail(segment: string): boolean {
  return segment.startsWith('*');
}

const METHODS: readonly (HttpMethod | 'HEAD')[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];

function wrongMethod(methods: readonly string[]): Routing {
  return { kind: 'wrong_method', allow: METHODS.filter((method) => methods.includes(method)).join(', ') };
}
