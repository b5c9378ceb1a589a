import type { Config } from '../infra/config.ts';
import { healthRoutes, type Readiness } from '../infra/http/health.ts';
import { startHttpServer } from '../infra/http/server.ts';
import type { Route } from '../infra/http/types.ts';
import { createLifecycle, type Lifecycle, untilAskedToStop } from '../infra/lifecycle.ts';
import { createLogger, type Logger } from '../infra/log.ts';
import { createMetrics, type Registry } from '../infra/metrics.ts';

/** What every process of the product has. */
export interface ProcessContext {
  config: Config;
  log: Logger;
  metrics: Registry;
  lifecycle: Lifecycle;
}

/** What a role runs once it is connected. */
export interface RunningRole {
  /** Served at IMMUTABLE_PORT, beside health; a role without any serves health alone, at IMMUTABLE_HEALTH_PORT. */
  routes: readonly Route[];
  ready: Readiness;
}

const DRAIN_MS = 3_000;

/**
 * The frame of a role: settings, log, metrics, health, and an orderly end. Whatever nobody handled ends
 * the process, since its state cannot be known any more; whoever supervises it starts it again.
 */
export async function runProcess(
  name: string,
  config: Config,
  start: (context: ProcessContext) => Promise<RunningRole>,
): Promise<void> {
  const log = createLogger(name, config.logLevel);
  endWhenUnhandled(log);
  const asked = untilAskedToStop();
  const metrics = createMetrics(name);
  const lifecycle = createLifecycle(log);
  const starting = startServing({ config, log, metrics, lifecycle }, start);
  try {
    await Promise.race([starting.then(() => asked), asked]);
    log.info({ reason: await asked }, 'draining');
  } finally {
    await lifecycle.stop();
  }
  log.info('stopped');
}

async function startServing(
  context: ProcessContext,
  start: (context: ProcessContext) => Promise<RunningRole>,
): Promise<void> {
  const { config, log, metrics, lifecycle } = context;
  const { routes, ready } = await start(context);
  let listens = routes.length === 0;
  const notListening = () => (listens ? [] : ['The API does not listen yet.']);
  const health = healthRoutes({ metrics, ready: async () => [...notListening(), ...(await ready())] });
  if (config.healthPort !== undefined) {
    // Of its own, so that a probe is answered whatever the API's port, certificate and load.
    const server = await startHttpServer({
      kind: 'node',
      host: '127.0.0.1',
      port: config.healthPort,
      routes: health,
      log,
    });
    lifecycle.onStop('health', () => server.close(0));
  }
  if (routes.length === 0) return;
  const server = await startHttpServer({
    kind: config.http,
    host: config.host,
    port: config.port,
    routes: [...routes, ...health],
    log,
    tls: tlsOf(config),
  });
  listens = true;
  lifecycle.onStop('http', () => server.close(DRAIN_MS));
  log.info({ host: config.host, port: server.port }, 'serving');
}

function tlsOf({ tlsCert, tlsKey }: Config): { certFile: string; keyFile: string } | undefined {
  return tlsCert === undefined || tlsKey === undefined ? undefined : { certFile: tlsCert, keyFile: tlsKey };
}

function endWhenUnhandled(log: Logger): void {
  process.on('uncaughtException', (err, origin) => {
    log.fatal({ err, origin }, 'unhandled; ending');
    process.exit(1);
  });
}
