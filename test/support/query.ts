import { createKeyRing, newToken, tokenHash } from '../../control/keys.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import { createLogger } from '../../infra/log.ts';
import { type QueryDeps, queryRoutes } from '../../query/routes.ts';

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads is whatever the API answers
  json: any;
}

/** The query routes on a port of their own, with a key for any workspace a test asks for. */
export interface TestQuery {
  readonly port: number;
  /** As the workspace's own client; `path` begins behind `/api/v1`. */
  get(workspaceId: string, path: string): Promise<Answer>;
  getWith(headers: Record<string, string>, path: string): Promise<Answer>;
  /** A key that lacks a scope, or is revoked. */
  addKey(
    workspaceId: string | null,
    scopes: ('ingest' | 'read' | 'manage' | 'operator')[],
    revoked?: boolean,
  ): string;
  stop(): Promise<void>;
}

/** `readerUrl`: ClickHouse's address for the user `reader`. */
export async function startTestQuery(
  readerUrl: string,
  options: Pick<QueryDeps, 'searchBudget' | 'signer' | 'anchors'> = {},
): Promise<TestQuery> {
  const clickhouse: ClickHouseClient = connectClickHouse(readerUrl);
  const keyRing = createKeyRing();
  const tokens = new Map<string, string>();
  const server = await startHttpServer({
    kind: 'node',
    host: '127.0.0.1',
    port: 0,
    routes: queryRoutes({ clickhouse, keyRing, cursorKey: new Uint8Array(32).fill(1), ...options }),
    log: createLogger('query', 'silent'),
  });

  function addKey(...[workspaceId, scopes, revoked = false]: Parameters<TestQuery['addKey']>): string {
    const token = newToken();
    keyRing.set(tokenHash(token), {
      id: 'key_0000000000000001',
      workspace_id: workspaceId,
      scopes,
      label: 'test',
      prefix: token.slice(0, 12),
      created_at: '2026-01-01T00:00:00.000000Z',
      expires_at: null,
      revoked_at: revoked ? '2026-01-02T00:00:00.000000Z' : null,
    });
    return token;
  }

  async function getWith(headers: Record<string, string>, path: string): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, { headers });
    return { status: response.status, headers: response.headers, json: await response.json() };
  }

  return {
    port: server.port,
    addKey,
    getWith,
    get(workspaceId, path) {
      const token = tokens.get(workspaceId) ?? addKey(workspaceId, ['read']);
      tokens.set(workspaceId, token);
      return getWith({ authorization: `Bearer ${token}`, 'content-type': 'application/json' }, path);
    },
    async stop() {
      await server.close(1_000);
      await clickhouse.close();
    },
  };
}
