import type { ClickHouseClient } from '@clickhouse/client';
import { authenticate, type KeyRing } from '../../control/keys.ts';
import { logNameOf, publishedKeys, type SigningKeys } from '../../control/signing-keys.ts';
import { ImmutableError } from '../../core/errors.ts';
import { type EntriesName, parseTilePath, tileWidth } from '../../core/tile.ts';
import type { Micros } from '../../core/time.ts';
import { errorResponse, jsonResponse } from '../../infra/http/answer.ts';
import type { Handler, HttpRequest, HttpResponse, Route } from '../../infra/http/types.ts';
import { ask } from '../ask.ts';
import { mayBeUnderWay, readEventId } from '../event-id.ts';
import { readParameters } from '../parameters.ts';
import { type AddressLimit, createAddressLimit } from './address-limit.ts';
import { logEvents } from './log-events.ts';
import { createProver, evidenceOf, type Prover, type ShownCheckpoint } from './prover.ts';
import { eventHashes } from './sql.ts';
import { createTileReader } from './tile-reader.ts';

export interface ProofDeps {
  /** With the rights of `reader`. */
  clickhouse: ClickHouseClient;
  keyRing: KeyRing;
  /** Undefined until the tree stage has made the first key. */
  signingKeys: () => SigningKeys | undefined;
  logOrigin: string;
  /** Whether anybody may read a workspace's checkpoint and tiles. */
  isLogPublic: (workspaceId: string) => boolean;
  /** Only checkpoints that as many witnesses have cosigned as the policy asks for. */
  witnessedOnly?: boolean;
  retainedFrom?: (workspaceId: string, nowMs: number) => Micros | undefined;
  /** Shared with other routes that need no key; one of its own unless given. */
  limit?: AddressLimit;
  /** The address of who asks, behind trusted proxies. */
  clientAddress?: (request: HttpRequest) => string;
  now?: () => number;
}

const NO_CHECKPOINT =
  'There is no checkpoint yet: it is signed some seconds after the first event, and shown once enough witnesses have cosigned it, where they must.';

/** Until a checkpoint is signed that an event is in (pipeline/tree). */
const RETRY_SECONDS = 5;
const WORKSPACE_ID = /^ws_[0-9a-f]{16}$/;
const DEFAULT_LOG_EVENTS = 10_000;
const MAX_LOG_EVENTS = 100_000;

/**
 * Proofs that need no trust in us: checkpoints, tiles, evidence. For the scope `read`; checkpoints and tiles of workspaces
 * that want it, and verifier keys, for everyone.
 */
export function proofRoutes(deps: ProofDeps): Route[] {
  const { clickhouse, keyRing, retainedFrom = () => undefined, now = Date.now } = deps;
  const prover = createProver(clickhouse, createTileReader(clickhouse), {
    witnessedOnly: deps.witnessedOnly ?? false,
  });
  const { limit = createAddressLimit(now), clientAddress = (request: HttpRequest) => request.remoteAddress } =
    deps;

  const workspaceOf = (request: HttpRequest) =>
    authenticate(keyRing, request.header('authorization'), 'read').workspace_id;

  /** For everyone who knows the workspace's id, if it has a public log; as if there were none, if not. */
  function publicWorkspaceOf(request: HttpRequest): string {
    limit(clientAddress(request));
    const workspaceId = request.params.workspace ?? '';
    if (!deps.isLogPublic(workspaceId)) throw new ImmutableError('not_found', 'There is no such public log.');
    return workspaceId;
  }

  async function checkpoint(workspaceId: string): Promise<ShownCheckpoint> {
    const newest = await prover.checkpoint(workspaceId);
    if (newest !== undefined) return newest;
    throw new ImmutableError('not_found', NO_CHECKPOINT);
  }

  async function getEvidence(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { withPrivate, newestWanted } = readEvidenceOptions(request.query);
    const id = readEventId(request.params.id);
    const row = id === null ? undefined : await prover.event(workspaceId, id);
    const isShown = row !== undefined && row.created_at_micros >= (retainedFrom(workspaceId, now()) ?? 0);
    if (!isShown) {
      const missing = new ImmutableError('not_found', 'There is no event with this id.');
      const soon = id !== null && mayBeUnderWay(id, now());
      return errorResponse(missing, request.id, soon ? { 'retry-after': '1' } : {});
    }
    const anchored = newestWanted ? undefined : await prover.anchor(workspaceId, row.seq);
    const checkpoint = anchored?.checkpoint ?? (await prover.checkpoint(workspaceId));
    if (checkpoint === undefined || checkpoint.size < row.seq) {
      const early = new ImmutableError('not_found', 'No checkpoint has this event yet: the next one will.');
      return errorResponse(early, request.id, { 'retry-after': String(RETRY_SECONDS) });
    }
    const inclusion = await prover.inclusion(workspaceId, row.seq, checkpoint.size);
    const evidence = evidenceOf(row, inclusion, { checkpoint, anchor: anchored?.row }, withPrivate);
    return jsonResponse(200, evidence, { 'cache-control': 'private, no-cache', vary: 'Authorization' });
  }

  async function getConsistency(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { size } = await checkpoint(workspaceId);
    const { first, second } = readSizes(request.query, size);
    const path = await prover.consistency(workspaceId, first, second);
    return jsonResponse(200, { data: { first, second, path } });
  }

  async function getLogEvents(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { first, count } = readLogRange(request.query);
    const { size } = await checkpoint(workspaceId);
    const last = Math.min(size, first + count - 1);
    const shownFrom = retainedFrom(workspaceId, now()) ?? 0;
    return {
      status: 200,
      headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'private, no-cache' },
      body: logEvents(clickhouse, workspaceId, { first, last, shownFrom }),
    };
  }

  function getKeys(request: HttpRequest): HttpResponse {
    limit(clientAddress(request));
    const parameters = readParameters(request.query);
    const workspaceId = parameters.text('workspace_id');
    if (workspaceId !== undefined && !WORKSPACE_ID.test(workspaceId)) {
      parameters.violations.push({ path: 'workspace_id', message: 'must be the id of a workspace' });
    }
    refuse(parameters.violations);
    const name = workspaceId === undefined ? undefined : logNameOf(deps.logOrigin, workspaceId);
    const keys = deps.signingKeys();
    return jsonResponse(
      200,
      { data: { log_origin: deps.logOrigin, keys: keys === undefined ? [] : publishedKeys(keys, name) } },
      { 'cache-control': 'public, max-age=60' },
    );
  }

  const read = { workspaceOf, caching: PRIVATE };
  const everyone = { workspaceOf: publicWorkspaceOf, caching: PUBLIC };
  return [
    { method: 'GET', path: '/api/v1/checkpoint', handler: checkpointHandler(checkpoint, read) },
    { method: 'GET', path: '/api/v1/tile/*tile', handler: tileHandler(deps, prover, read) },
    { method: 'GET', path: '/api/v1/events/:id/proof', handler: getEvidence },
    { method: 'GET', path: '/api/v1/consistency', handler: getConsistency },
    { method: 'GET', path: '/api/v1/log/events', handler: getLogEvents },
    { method: 'GET', path: '/api/v1/public/keys', handler: getKeys },
    {
      method: 'GET',
      path: '/api/v1/public/logs/:workspace/checkpoint',
      handler: checkpointHandler(checkpoint, everyone),
    },
    {
      method: 'GET',
      path: '/api/v1/public/logs/:workspace/tile/*tile',
      handler: tileHandler(deps, prover, everyone),
    },
  ];
}

/** To whom an answer may be shown again by a cache on the way. */
interface Caching {
  /** What never changes. */
  forever: Record<string, string>;
  /** What changes with every checkpoint. */
  briefly: Record<string, string>;
}

/** A shared cache keeps none of it, and a private one keeps it by key: nobody gets a neighbour's tile. */
const PRIVATE: Caching = {
  forever: { 'cache-control': 'private, max-age=31536000, immutable', vary: 'Authorization' },
  briefly: { 'cache-control': 'private, no-cache', vary: 'Authorization' },
};

const PUBLIC: Caching = {
  forever: { 'cache-control': 'public, max-age=31536000, immutable', 'access-control-allow-origin': '*' },
  briefly: { 'cache-control': 'public, max-age=2', 'access-control-allow-origin': '*' },
};

interface Access {
  workspaceOf(request: HttpRequest): string;
  caching: Caching;
}

function checkpointHandler(
  checkpoint: (workspaceId: string) => Promise<ShownCheckpoint>,
  { workspaceOf, caching }: Access,
): Handler {
  return async (request) => {
    const { note } = await checkpoint(workspaceOf(request));
    return {
      status: 200,
      headers: { 'content-type': 'text/plain; charset=utf-8', ...caching.briefly },
      body: note,
    };
  };
}

function tileHandler({ clickhouse }: ProofDeps, prover: Prover, { workspaceOf, caching }: Access): Handler {
  return async (request) => {
    const workspaceId = workspaceOf(request);
    const name = parseTilePath(`tile/${request.params.tile}`);
    if (name === null) throw new ImmutableError('not_found', 'This is not the path of a tile.');
    const newest = await prover.checkpoint(workspaceId);
    const level = name.kind === 'tile' ? name.level : 0;
    if (name.width > tileWidth({ level, index: name.index }, newest?.size ?? 0)) {
      throw new ImmutableError('not_found', 'The checkpoint has no such tile (yet).');
    }
    const bytes =
      name.kind === 'tile'
        ? await prover.tile(workspaceId, name)
        : await entryBundle(clickhouse, workspaceId, name);
    if (bytes === undefined) throw new ImmutableError('internal', 'A tile of the Merkle tree is missing.');
    return {
      status: 200,
      headers: { 'content-type': 'application/octet-stream', ...caching.forever },
      body: bytes,
    };
  };
}

/** What the leaves of a tile are hashes of, each with its length before it (C2SP tlog-tiles, entry bundles). */
async function entryBundle(
  clickhouse: ClickHouseClient,
  workspaceId: string,
  { index, width }: Pick<EntriesName, 'index' | 'width'>,
): Promise<Uint8Array> {
  const first = index * 256 + 1;
  const rows = await ask<{ hash: string }>(clickhouse, eventHashes(workspaceId, first, first + width - 1), {
    max_execution_time: 5,
  });
  if (rows.length !== width) {
    throw new ImmutableError('gone', 'The retention has removed these events; their tile stays.');
  }
  return Buffer.concat(rows.map(({ hash }) => Buffer.from(`0020${hash}`, 'hex')));
}

function readEvidenceOptions(query: string): { withPrivate: boolean; newestWanted: boolean } {
  const parameters = readParameters(query);
  const shown = parameters.oneOf('private', ['true', 'false']);
  const checkpoint = parameters.oneOf('checkpoint', ['anchored', 'newest']);
  refuse(parameters.violations);
  return { withPrivate: shown !== 'false', newestWanted: checkpoint === 'newest' };
}

function readSizes(query: string, size: number): { first: number; second: number } {
  const parameters = readParameters(query);
  const first = parameters.wholeNumber('first', 1, size);
  const second = parameters.wholeNumber('second', 1, size) ?? size;
  if (first === undefined && parameters.violations.length === 0) {
    parameters.violations.push({ path: 'first', message: 'is required' });
  }
  if (first !== undefined && first > second) {
    parameters.violations.push({ path: 'first', message: `must not be above second, ${second}` });
  }
  refuse(parameters.violations);
  return { first: first ?? 0, second };
}

function readLogRange(query: string): { first: number; count: number } {
  const parameters = readParameters(query);
  const first = parameters.wholeNumber('first', 1, Number.MAX_SAFE_INTEGER) ?? 1;
  const count = parameters.wholeNumber('limit', 1, MAX_LOG_EVENTS) ?? DEFAULT_LOG_EVENTS;
  refuse(parameters.violations);
  return { first, count };
}

function refuse(violations: { path: string; message: string }[]): void {
  if (violations.length > 0) {
    throw new ImmutableError('validation_failed', 'A parameter is not valid.', { violations });
  }
}
