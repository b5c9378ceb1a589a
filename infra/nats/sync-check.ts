import { ImmutableError } from '../../core/errors.ts';

/** What one server says about its JetStream, at its monitoring address. */
export interface JetStreamServer {
  monitorUrl: string;
  serverName: string;
  /** Everything is synced to disk before it is acknowledged. */
  syncsAlways: boolean;
  /** What its streams may reserve on disk. */
  storeLimitBytes: number;
}

const TIMEOUT_MS = 5_000;

/**
 * Makes sure that every server syncs before it acknowledges. NATS flushes every two minutes by default and
 * acknowledges at once: a power cut would lose acknowledged events. Clients cannot see the setting, so
 * the monitoring address of every server is needed. Throws `misconfigured` naming the servers that
 * do not, `unavailable` when one does not answer.
 */
export async function checkSyncAlways(monitorUrls: readonly string[]): Promise<void> {
  const servers = await Promise.all(monitorUrls.map(describeServer));
  const careless = servers.filter((server) => !server.syncsAlways);
  if (careless.length === 0) return;
  throw new ImmutableError(
    'misconfigured',
    `These NATS servers acknowledge events before they are safe on disk: ${careless.map(shown).join(', ')}.`,
    {
      nextStep:
        'Set `jetstream { sync_interval: always }` on each and restart it, or set IMMUTABLE_ALLOW_UNSYNCED_NATS=true if losing acknowledged events in a power cut is acceptable.',
    },
  );
}

/** The smallest store among the servers, since each may have to hold every stream. */
export async function smallestStoreBytes(monitorUrls: readonly string[]): Promise<number> {
  const servers = await Promise.all(monitorUrls.map(describeServer));
  return Math.min(...servers.map((server) => server.storeLimitBytes));
}

async function describeServer(monitorUrl: string): Promise<JetStreamServer> {
  const answer = await ask(new URL('jsz?config=1', monitorUrl.endsWith('/') ? monitorUrl : `${monitorUrl}/`));
  const config = member(answer, 'config');
  return {
    monitorUrl,
    serverName: String(member(answer, 'server_id')),
    // Older servers do not know the member; none of them syncs always without being told, and then says so.
    syncsAlways: member(config, 'sync_always') === true,
    storeLimitBytes: Number(member(config, 'max_storage')),
  };
}

async function ask(url: URL): Promise<unknown> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return await response.json();
  } catch (cause) {
    throw new ImmutableError('unavailable', `The NATS monitoring address ${url.origin} does not answer.`, {
      nextStep: 'IMMUTABLE_NATS_MONITOR_URL lists the monitoring addresses of every NATS server.',
      cause,
    });
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function shown(server: JetStreamServer): string {
  return server.monitorUrl;
}
