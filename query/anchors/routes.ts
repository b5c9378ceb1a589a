import type { ClickHouseClient } from '@clickhouse/client';
import { authenticate, type KeyRing } from '../../control/keys.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Micros } from '../../core/time.ts';
import { jsonResponse } from '../../infra/http/answer.ts';
import type { HttpRequest, HttpResponse, Route } from '../../infra/http/types.ts';
import { ask, askLater } from '../ask.ts';
import { type CursorBinding, decodeCursor, encodeCursor } from '../cursor.ts';
import { type Parameters, readParameters } from '../parameters.ts';
import type { AddressLimit } from '../proofs/address-limit.ts';
import type { SqlQuery } from '../sql.ts';
import { createTurns, type TurnsOptions } from '../turns.ts';
import { type InspectorDeps, inspectAnchor } from './inspector.ts';
import { anchorPage, missingPage, PAGE_HEADERS } from './page.ts';
import { presentAnchor, presentAnchorInFull, presentTree, presentVerification } from './present.ts';
import type { AnchorRecords } from './records.ts';
import {
  type AnchorRow,
  anchorById,
  anchorCount,
  anchorsOf,
  anchorsOfTree,
  type BatchRow,
  treesOfTransaction,
} from './sql.ts';

export interface AnchorDeps {
  /** With the rights of `reader`. */
  clickhouse: ClickHouseClient;
  keyRing: KeyRing;
  /** Signs cursors: the same on every process that answers queries. */
  cursorKey: Uint8Array;
  /** Whether a key of ours has signed a note, as the log of this workspace. */
  isSigned: InspectorDeps['isSigned'];
  /** What the anchor job goes by; without it that is not compared. */
  records?: AnchorRecords | undefined;
  /** Shared with the other routes that need no key. */
  limit: AddressLimit;
  /** The address of who asks, behind trusted proxies. */
  clientAddress: (request: HttpRequest) => string;
}

const DEFAULT_LIMIT = 25;
const MAX_LIMIT = 100;
const SETTINGS = { max_execution_time: 5 };

/** Each reads a dozen tiles and checks a signature. */
const CHECK_TURNS: TurnsOptions = {
  atOnce: 4,
  atOnceEach: 2,
  mostWaitingEach: 16,
  longestWaitMs: 5_000,
  retryAfterSeconds: 2,
};
/** Of everybody without a key together. */
const PUBLIC = 'public';

/** 128 bits of chance: who knows an id was given it. */
const ANCHOR_ID = /^anc_[0-9a-f]{32}$/;
const TX_HASH = /^0x[0-9a-f]{64}$/;
const MERKLE_ROOT = /^[0-9a-f]{64}$/;

const NO_ANCHOR = 'There is no anchor with this id.';
const NO_TRANSACTION = 'No such anchor is known here.';

/**
 * What was anchored: for the scope `read` the workspace's own; without a key for whoever knows an id or a transaction, limited
 * by address.
 */
export function anchorRoutes(deps: AnchorDeps): Route[] {
  const { clickhouse, keyRing, cursorKey } = deps;
  const query = <Row>(question: SqlQuery) => ask<Row>(clickhouse, question, SETTINGS, askLater);
  const inspector: InspectorDeps = { clickhouse, query, isSigned: deps.isSigned, records: deps.records };
  const checkTurn = createTurns(CHECK_TURNS);
  const workspaceOf = (request: HttpRequest) =>
    authenticate(keyRing, request.header('authorization'), 'read').workspace_id;
  const admit = (request: HttpRequest) => deps.limit(deps.clientAddress(request));

  async function listAnchors(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const binding: CursorBinding = { workspaceId, search: 'anchors' };
    const { limit, before } = readPage(request.query, binding, cursorKey);
    const [rows, [counted]] = await Promise.all([
      query<AnchorRow>(anchorsOf(workspaceId, { before, most: limit + 1 })),
      query<{ total: number }>(anchorCount(workspaceId)),
    ]);
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    return jsonResponse(
      200,
      {
        data: page.map(presentAnchor),
        pagination: {
          has_more: last !== undefined,
          next_cursor: last === undefined ? null : encodeCursor(last.period_end_micros, binding, cursorKey),
          total: counted?.total ?? 0,
          total_is_estimate: false,
        },
      },
      OWN,
    );
  }

  /** Of the workspace, or of any; undefined, without a question, for what cannot be an id. */
  async function find(request: HttpRequest, workspaceId?: string): Promise<AnchorRow | undefined> {
    const id = readId(request);
    return id === null ? undefined : (await query<AnchorRow>(anchorById(id, workspaceId))).at(0);
  }

  async function getAnchor(request: HttpRequest): Promise<HttpResponse> {
    const row = await find(request, workspaceOf(request));
    if (row === undefined) throw new ImmutableError('not_found', NO_ANCHOR);
    return jsonResponse(200, { data: presentAnchorInFull(row) }, OWN);
  }

  async function verify(
    request: HttpRequest,
    workspaceId: string | undefined,
    headers: Record<string, string>,
  ): Promise<HttpResponse> {
    const id = readId(request);
    const found =
      id === null
        ? null
        : await checkTurn(workspaceId ?? PUBLIC, () => inspectAnchor(inspector, id, workspaceId));
    if (found === null) throw new ImmutableError('not_found', NO_ANCHOR);
    return jsonResponse(200, { data: presentVerification(found.row, found.findings) }, headers);
  }

  async function lookUp(request: HttpRequest): Promise<HttpResponse> {
    admit(request);
    const { txHash, merkleRoot } = readLookUp(request.query);
    const trees = await query<{ batch: BatchRow }>(treesOfTransaction(txHash));
    const [{ batch } = { batch: undefined }] = trees;
    if (batch === undefined || trees.length > 1) throw new ImmutableError('not_found', NO_TRANSACTION);
    // Without the root of its own tree, nobody is told of one workspace among others.
    const isTold = merkleRoot !== undefined || batch.leaves === 1;
    const rows = isTold ? await query<AnchorRow>(anchorsOfTree(batch.id, merkleRoot)) : [];
    if (merkleRoot !== undefined && rows.length === 0) throw new ImmutableError('not_found', NO_TRANSACTION);
    const [row] = rows.length === 1 ? rows : [];
    const anchor = row === undefined ? null : presentAnchor(row);
    return jsonResponse(200, { data: { ...presentTree({ ...batch, batch }), anchor } }, EVERYBODY);
  }

  async function showPage(request: HttpRequest): Promise<HttpResponse> {
    admit(request);
    const row = await find(request);
    return row === undefined
      ? { status: 404, headers: PAGE_HEADERS, body: missingPage() }
      : { status: 200, headers: PAGE_HEADERS, body: anchorPage(row) };
  }

  return [
    { method: 'GET', path: '/api/v1/anchors', handler: listAnchors },
    { method: 'GET', path: '/api/v1/anchors/:id', handler: getAnchor },
    {
      method: 'GET',
      path: '/api/v1/anchors/:id/verify',
      handler: (request) => verify(request, workspaceOf(request), OWN),
    },
    { method: 'GET', path: '/api/v1/public/anchors/lookup', handler: lookUp },
    {
      method: 'GET',
      path: '/api/v1/public/anchors/:id/verify',
      handler: async (request) => {
        admit(request);
        return await verify(request, undefined, EVERYBODY);
      },
    },
    { method: 'GET', path: '/public/anchors/:id', handler: showPage },
  ];
}

const OWN = { 'cache-control': 'private, no-cache', vary: 'Authorization' };
const EVERYBODY = { 'cache-control': 'no-cache', 'access-control-allow-origin': '*' };

function readId(request: HttpRequest): string | null {
  const id = request.params.id ?? '';
  return ANCHOR_ID.test(id) ? id : null;
}

function readPage(
  queryText: string,
  binding: CursorBinding,
  cursorKey: Uint8Array,
): { limit: number; before: Micros | undefined } {
  const parameters = readParameters(queryText);
  const limit = parameters.wholeNumber('limit', 1, MAX_LIMIT) ?? DEFAULT_LIMIT;
  const cursor = parameters.text('cursor');
  refuse(parameters);
  return { limit, before: cursor === undefined ? undefined : decodeCursor(cursor, binding, cursorKey) };
}

function readLookUp(queryText: string): { txHash: string; merkleRoot: string | undefined } {
  const parameters = readParameters(queryText);
  const txHash = parameters.text('tx_hash')?.toLowerCase();
  const merkleRoot = parameters.text('merkle_root')?.toLowerCase();
  if (parameters.violations.length === 0 && !TX_HASH.test(txHash ?? '')) {
    parameters.violations.push({ path: 'tx_hash', message: 'must be 0x and 64 hexadecimal digits' });
  }
  if (merkleRoot !== undefined && !MERKLE_ROOT.test(merkleRoot)) {
    parameters.violations.push({ path: 'merkle_root', message: 'must be 64 hexadecimal digits' });
  }
  refuse(parameters);
  return { txHash: txHash ?? '', merkleRoot };
}

function refuse({ violations }: Parameters): void {
  if (violations.length > 0) {
    throw new ImmutableError('validation_failed', 'A parameter is not valid.', { violations });
  }
}
