import type { ClickHouseClient } from '@clickhouse/client';
import { authenticate, type KeyRing } from '../control/keys.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import { errorResponse, jsonResponse } from '../infra/http/answer.ts';
import type { HttpRequest, HttpResponse, Route } from '../infra/http/types.ts';
import type { AnchorRecords } from './anchors/records.ts';
import { type CursorBinding, decodePlace, encodeCursor } from './cursor.ts';
import { mayBeUnderWay, readEventId } from './event-id.ts';
import { openApiDocument } from './openapi/document.ts';
import { readParameters } from './parameters.ts';
import { presentEvent } from './present.ts';
import { createEventReader, type SearchBudget } from './reader.ts';
import { parseSearch, type Search, searchIdentity } from './search.ts';
import { createTurns, type TurnsOptions } from './turns.ts';
import { type Verification, type VerifyOptions, type VerifyRange, verifyChain } from './verify.ts';
import type { Signer } from './verify-tree.ts';

export interface QueryDeps {
  /** With the rights of `reader`. */
  clickhouse: ClickHouseClient;
  keyRing: KeyRing;
  /** Signs cursors: the same on every process that answers queries. */
  cursorKey: Uint8Array;
  /** From when on a workspace's events are shown: what is older is past its retention. All of them unless told. */
  retainedFrom?: (workspaceId: string, nowMs: number) => Micros | undefined;
  /** What verification knows of who signs; without it the tree is not looked at. */
  signer?: Signer | undefined;
  /** What the anchor job goes by; without it anchors are not looked at. */
  anchors?: AnchorRecords | undefined;
  now?: () => number;
  searchBudget?: SearchBudget;
}

const DEFAULT_VERIFY_LIMIT = 10_000;
/** Proxies and clients give up on an answer that takes longer; what is left is for the next request. */
const MAX_VERIFY_MS = 50_000;
/** Each keeps a core or two busy. */
const VERIFICATION_TURNS: TurnsOptions = {
  atOnce: 2,
  atOnceEach: 1,
  mostWaitingEach: 8,
  longestWaitMs: MAX_VERIFY_MS,
  retryAfterSeconds: 10,
};
/** ClickHouse runs six queries of the reader's at a time: two stay free of lists, for single events. */
const SEARCH_TURNS: TurnsOptions = {
  atOnce: 4,
  atOnceEach: 2,
  mostWaitingEach: 32,
  longestWaitMs: 5_000,
  retryAfterSeconds: 1,
};

/** `GET /events`, `/events/{id}`, `/verify` for the scope `read`, and the API's description for everyone. */
export function queryRoutes({
  clickhouse,
  keyRing,
  cursorKey,
  retainedFrom = () => undefined,
  signer,
  anchors,
  now = Date.now,
  searchBudget,
}: QueryDeps): Route[] {
  const reader = createEventReader(clickhouse, { ...(searchBudget && { budget: searchBudget }), now });
  const description = JSON.stringify(openApiDocument());
  const verificationTurn = createTurns(VERIFICATION_TURNS);
  const searchTurn = createTurns(SEARCH_TURNS);

  const workspaceOf = (request: HttpRequest) =>
    authenticate(keyRing, request.header('authorization'), 'read').workspace_id;

  async function listEvents(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { search, warnings } = readSearch(request.query);
    const binding: CursorBinding = { workspaceId, search: searchIdentity(search) };
    const place = search.cursor === undefined ? undefined : decodePlace(search.cursor, binding, cursorKey);
    const shown = withoutExpired(search, retainedFrom(workspaceId, now()));
    const { rows, hasMore, total } = await searchTurn(workspaceId, () =>
      reader.page(workspaceId, shown, place),
    );
    const last = hasMore ? rows.at(-1) : undefined;
    return jsonResponse(200, {
      data: rows.map(presentEvent),
      pagination: {
        has_more: hasMore,
        next_cursor:
          last === undefined ? null : encodeCursor(last.created_at_micros, binding, cursorKey, total),
        total: total.count,
        total_is_estimate: total.isEstimate,
      },
      ...(warnings.length > 0 ? { warnings } : {}),
    });
  }

  async function getEvent(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const id = readEventId(request.params.id);
    const row = id === null ? undefined : await reader.event(workspaceId, id);
    const expired = row !== undefined && row.created_at_micros < (retainedFrom(workspaceId, now()) ?? 0);
    if (row !== undefined && !expired) return jsonResponse(200, { data: presentEvent(row) });
    const missing = new ImmutableError('not_found', 'There is no event with this id.');
    const soon = id !== null && mayBeUnderWay(id, now());
    return errorResponse(missing, request.id, soon ? { 'retry-after': '1' } : {});
  }

  async function verify(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { range, warnings } = readVerifyRange(request.query);
    const data = await verificationTurn(workspaceId, () =>
      verifyWithin(MAX_VERIFY_MS, clickhouse, { workspaceId, ...range }, { signer, anchors }),
    );
    return jsonResponse(200, { data, ...(warnings.length > 0 ? { warnings } : {}) });
  }

  return [
    { method: 'GET', path: '/api/v1/events', handler: listEvents },
    { method: 'GET', path: '/api/v1/events/:id', handler: getEvent },
    { method: 'GET', path: '/api/v1/verify', handler: verify },
    {
      method: 'GET',
      path: '/api/v1/openapi.json',
      handler: () => ({ status: 200, headers: { 'Content-Type': 'application/json' }, body: description }),
    },
  ];
}

/** The cursor belongs to the search as it was asked: the moment moves on between its pages. */
function withoutExpired(search: Search, retained: Micros | undefined): Search {
  return retained === undefined ? search : { ...search, from: Math.max(search.from ?? 0, retained) };
}

function verifyWithin(
  maxMs: number,
  clickhouse: ClickHouseClient,
  range: VerifyRange,
  known: Pick<VerifyOptions, 'signer' | 'anchors'>,
): Promise<Verification> {
  const startedAt = performance.now();
  const enough = () => performance.now() - startedAt > maxMs;
  return verifyChain(clickhouse, range, { enough, ...known });
}

function readSearch(query: string): { search: Search; warnings: string[] } {
  const parsed = parseSearch(query);
  if (!parsed.ok) throw invalid(parsed.violations);
  return parsed;
}

function readVerifyRange(query: string) {
  const parameters = readParameters(query);
  const range = {
    from: parameters.time('from'),
    to: parameters.time('to'),
    limit: parameters.wholeNumber('limit', 1, Number.MAX_SAFE_INTEGER) ?? DEFAULT_VERIFY_LIMIT,
  };
  if (parameters.violations.length > 0) throw invalid(parameters.violations);
  return { range, warnings: parameters.ignored() };
}

function invalid(violations: ImmutableError['violations'] & object): ImmutableError {
  return new ImmutableError('validation_failed', 'A parameter is not valid.', { violations });
}
