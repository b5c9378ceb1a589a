import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ArchivedEvent, archiveLine } from '../../core/archive.ts';
import { base64Encode } from '../../core/bytes.ts';
import { verifierKeyOf } from '../../core/checkpoint.ts';
import { parseTilePath, tileKey, tilesOfLeaves } from '../../core/tile.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { LOG_ORIGIN, leavesOf, noteOf, SIGNER, WORKSPACE } from './sample-log.ts';

/** What a log serves; a test changes it as a forger would. */
export interface ServedLog {
  /** As GET /log/events gives them. */
  events: readonly ArchivedEvent[];
  note: string;
  /** By `tileKey`. */
  tiles: Map<string, Uint8Array>;
  /** Answers instead of what would be answered, if it gives true. */
  instead?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

/** The log that holds exactly these events, and is honest. */
export function honestLog(events: readonly ArchivedEvent[]): ServedLog {
  const leaves = leavesOf(events, nativeHasher);
  return {
    events,
    note: noteOf(leaves, SIGNER, nativeHasher),
    tiles: tilesOfLeaves(leaves, nativeHasher),
  };
}

export interface LogServer {
  /** Of the install. */
  url: string;
  /** Of the public form of the log. */
  publicUrl: string;
  apiKey: string;
  served: ServedLog;
  /** Paths that were asked for. */
  requests: string[];
  stop(): Promise<void>;
}

/** Serves the routes of a log that a verifier reads, over core/ alone. */
export async function startLogServer(served: ServedLog): Promise<LogServer> {
  const apiKey = 'imk_test';
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    if (log.served.instead?.(request, response)) return;
    answer(log.served, apiKey, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const log: LogServer = {
    url,
    publicUrl: `${url}/api/v1/public/logs/${WORKSPACE}`,
    apiKey,
    served,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return log;
}

function answer(log: ServedLog, apiKey: string, request: IncomingMessage, response: ServerResponse) {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://log');
  if (pathname === '/api/v1/public/keys') return json(response, 200, { data: publicKeys() });
  const [, base = '', path = ''] =
    /^(\/api\/v1(?:\/public\/logs\/ws_[0-9a-f]+)?)\/(.*)$/.exec(pathname) ?? [];
  if (base === '/api/v1' && request.headers.authorization !== `Bearer ${apiKey}`) {
    return json(response, 401, { error: 'unauthenticated', message: 'The API key is missing or unknown.' });
  }
  if (path === 'checkpoint') return send(response, 'text/plain; charset=utf-8', log.note);
  const tile = parseTilePath(path);
  const hashes = tile?.kind === 'tile' ? log.tiles.get(tileKey(tile)) : undefined;
  if (tile !== null && hashes !== undefined && hashes.length >= tile.width * 32) {
    return send(response, 'application/octet-stream', hashes.subarray(0, tile.width * 32));
  }
  if (path === 'log/events' && base === '/api/v1') {
    const [first, limit] = [Number(searchParams.get('first')), Number(searchParams.get('limit') ?? 10_000)];
    const page = log.events.filter(({ seq }) => seq >= first).slice(0, limit);
    return send(response, 'application/x-ndjson', page.map((event) => `${archiveLine(event)}\n`).join(''));
  }
  return json(response, 404, { error: 'not_found', message: 'There is nothing here.' });
}

function publicKeys() {
  const public_key = base64Encode(verifierKeyOf(SIGNER).publicKey);
  const created_at = '2026-01-01T00:00:00.000000Z';
  return {
    log_origin: LOG_ORIGIN,
    keys: [{ algorithm: 'Ed25519', public_key, created_at, signs_until: null }],
  };
}

function send(response: ServerResponse, type: string, body: string | Uint8Array): void {
  response.writeHead(200, { 'content-type': type }).end(body);
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
