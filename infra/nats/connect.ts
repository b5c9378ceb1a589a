import { type ConnectionOptions, connect, type NatsConnection } from '@nats-io/transport-node';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';

export type { NatsConnection } from '@nats-io/transport-node';

/** How long the first connection is tried before the process says so and ends. */
const FIRST_CONNECT_MS = 20_000;
const RETRY_MS = 250;
const REQUEST_TIMEOUT_MS = 5_000;

/**
 * Connects to one NATS server, or to a cluster of which `url` names some members, separated by commas
 * (`nats://user:password@host:4222`, `tls://…`). Once connected it reconnects for ever and logs what
 * happens; only the first connection can fail: `unavailable` when nothing answers for 20 s,
 * `misconfigured` when the server refuses the credentials.
 */
export async function connectNats(options: {
  url: string;
  name: string;
  log: Logger;
  firstConnectMs?: number;
}): Promise<NatsConnection> {
  const settings = connectionOptions(options.url, options.name);
  const deadline = performance.now() + (options.firstConnectMs ?? FIRST_CONNECT_MS);
  const nc = tieRequestsToConnection(await connectBefore(deadline, settings, options));
  void reportStatus(nc, options.log);
  return nc;
}

async function connectBefore(
  deadline: number,
  settings: ConnectionOptions,
  { log }: { log: Logger },
): Promise<NatsConnection> {
  for (;;) {
    try {
      return await connect(settings);
    } catch (cause) {
      if (isRefused(cause)) {
        throw new ImmutableError(
          'misconfigured',
          `The NATS server at ${shown(settings)} refuses the user or password.`,
          {
            nextStep: 'Correct IMMUTABLE_NATS_URL.',
            cause,
          },
        );
      }
      if (performance.now() >= deadline) {
        throw new ImmutableError('unavailable', `No NATS server answers at ${shown(settings)}.`, {
          nextStep: 'Start it, or correct IMMUTABLE_NATS_URL.',
          cause,
        });
      }
      log.debug({ err: cause }, 'NATS does not answer yet');
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function reportStatus(nc: NatsConnection, log: Logger): Promise<void> {
  for await (const status of nc.status()) {
    switch (status.type) {
      case 'disconnect':
        log.warn({ server: status.server }, 'NATS connection lost; reconnecting');
        break;
      case 'reconnect':
        log.info({ server: status.server }, 'NATS connected again');
        break;
      case 'error':
        log.error({ err: status.error }, 'NATS reports an error');
        break;
      case 'ldm':
        log.info({ server: status.server }, 'NATS server is about to stop');
        break;
      default:
    }
  }
}

/** The client takes credentials as options, not inside the address. */
export function connectionOptions(url: string, name: string): ConnectionOptions {
  const addresses = url
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseAddress);
  const first = addresses[0];
  if (first === undefined) throw new ImmutableError('misconfigured', 'IMMUTABLE_NATS_URL is empty.');
  return {
    servers: addresses.map((address) => `${address.protocol}//${address.host}`),
    name,
    ...credentials(first),
    ...(first.protocol === 'tls:' ? { tls: {} } : {}),
    maxReconnectAttempts: -1,
    reconnectTimeWait: RETRY_MS,
    reconnectJitter: 100,
    reconnectJitterTLS: 250,
    // A server that restarts may refuse for a moment, while its configuration is being replaced.
    ignoreAuthErrorAbort: true,
    timeout: REQUEST_TIMEOUT_MS,
    // A peer that vanished without a word is noticed within 20 s rather than minutes.
    pingInterval: 10_000,
    maxPingOut: 2,
    noAsyncTraces: true,
  };
}

function parseAddress(text: string): URL {
  try {
    return new URL(text.includes('://') ? text : `nats://${text}`);
  } catch (cause) {
    throw new ImmutableError('misconfigured', `IMMUTABLE_NATS_URL: "${text}" is not an address`, { cause });
  }
}

function credentials(address: URL): { user?: string; pass?: string; token?: string } {
  const user = decodeURIComponent(address.username);
  const pass = decodeURIComponent(address.password);
  if (user === '') return {};
  return pass === '' ? { token: user } : { user, pass };
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AuthorizationError' || isRefused(error.cause));
}

function shown(settings: ConnectionOptions): string {
  return [settings.servers].flat().join(', ');
}

/** Whether a connection is up, and a word when it goes down or comes back. */
export interface ConnectionState {
  connected(): boolean;
  /** How often it was lost: has it been up all the time since a number was asked for? */
  losses(): number;
  /** Calls `listener` at the next loss (and at close); returns how to unsubscribe. */
  onLost(listener: () => void): () => void;
  onRestored(listener: () => void): () => void;
}

const states = new WeakMap<NatsConnection, ConnectionState>();

export function connectionState(nc: NatsConnection): ConnectionState {
  const known = states.get(nc);
  if (known !== undefined) return known;
  const state = followState(nc);
  states.set(nc, state);
  return state;
}

/** Waits up to `timeoutMs` for a connection that is down; resolves to whether it is up. */
export async function connectedWithin(nc: NatsConnection, timeoutMs: number): Promise<boolean> {
  const state = connectionState(nc);
  if (!state.connected()) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, timeoutMs);
      const unsubscribe = state.onRestored(done);
      function done(): void {
        clearTimeout(timer);
        unsubscribe();
        resolve();
      }
    });
  }
  return state.connected();
}

/**
 * The client drops what is sent while the connection is down, and lets a request that was lost with it run
 * into its timeout, and with it whoever waits: JetStream's own interface is made of requests. Here a request
 * waits for the connection, and ends with it.
 */
function tieRequestsToConnection(nc: NatsConnection): NatsConnection {
  const request = nc.request.bind(nc);
  nc.request = async (subject, payload, options) => {
    const startedMs = performance.now();
    const timeout = options?.timeout ?? REQUEST_TIMEOUT_MS;
    if (!connectionState(nc).connected() && !nc.isClosed()) await connectedWithin(nc, timeout);
    const remaining = Math.max(1, timeout - (performance.now() - startedMs));
    const reply = request(subject, payload, { ...options, timeout: remaining });
    // One that is closed says so itself.
    return nc.isClosed() ? reply : untilLost(nc, reply);
  };
  return nc;
}

/** Rejects with `unavailable` when the connection is lost before `answer` is there, or is down already. */
export function untilLost<T>(nc: NatsConnection, answer: Promise<T>): Promise<T> {
  const state = connectionState(nc);
  return new Promise<T>((resolve, reject) => {
    const unsubscribe = state.onLost(lose);
    function lose(): void {
      unsubscribe();
      reject(new ImmutableError('unavailable', 'The connection to NATS was lost.'));
    }
    answer.then(resolve, reject).finally(unsubscribe);
    if (!state.connected()) lose();
  });
}

function followState(nc: NatsConnection): ConnectionState {
  const lost = new Set<() => void>();
  const restored = new Set<() => void>();
  let up = !nc.isClosed();
  let losses = 0;
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect' || status.type === 'close') {
        up = false;
        losses += 1;
        for (const listener of [...lost]) listener();
      } else if (status.type === 'reconnect') {
        up = true;
        for (const listener of [...restored]) listener();
      }
    }
  })();
  return {
    connected: () => up && !nc.isClosed(),
    losses: () => losses,
    onLost: (listener) => subscribe(lost, listener),
    onRestored: (listener) => subscribe(restored, listener),
  };
}

function subscribe(listeners: Set<() => void>, listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
