import { z } from 'zod';
import { ImmutableError } from '../../core/errors.ts';
import { createLifecycle, untilAskedToStop } from '../lifecycle.ts';
import { createLogger, type Logger } from '../log.ts';
import { readPasswords } from './authenticate.ts';
import { generationsFolder } from './generations.ts';
import { watchItself } from './self-check.ts';
import { startChdbServer } from './server.ts';
import { CHDB_ENVIRONMENT } from './spec.ts';

const environment = z.object({
  [CHDB_ENVIRONMENT.path]: z.string().min(1),
  [CHDB_ENVIRONMENT.host]: z.string().min(1).default('127.0.0.1'),
  [CHDB_ENVIRONMENT.port]: z.coerce.number().int().min(0).max(65_535),
  [CHDB_ENVIRONMENT.passwordsFile]: z.string().min(1),
  IMMUTABLE_LOG_LEVEL: z.string().default('info'),
});

const SELF_CHECK = { everyMs: 5_000, timeoutMs: 30_000, failures: 4 };

/** The `chdb` role: serves until it is asked to stop, or can no longer. */
export async function runChdb(env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const parsed = environment.safeParse(env);
  if (!parsed.success) {
    const names = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw new ImmutableError('misconfigured', `The embedded ClickHouse cannot start: ${names}`);
  }
  const settings = parsed.data;
  const log = createLogger('chdb', settings.IMMUTABLE_LOG_LEVEL);
  const lifecycle = createLifecycle(log);
  const server = await startChdbServer({
    path: settings[CHDB_ENVIRONMENT.path],
    host: settings[CHDB_ENVIRONMENT.host],
    port: settings[CHDB_ENVIRONMENT.port],
    users: readPasswords(settings[CHDB_ENVIRONMENT.passwordsFile]),
    generations: generationsFolder(settings[CHDB_ENVIRONMENT.passwordsFile]),
    log,
  });
  lifecycle.onStop('clickhouse', () => server.close());
  const stopWatching = watchItself({
    ...SELF_CHECK,
    check: server.check,
    failed: (error) => end(log, error),
  });
  lifecycle.onStop('self-check', stopWatching);
  log.info({ reason: await untilAskedToStop() }, 'stopping');
  await lifecycle.stop();
  if (process.connected) process.disconnect(); // Its supervisor's channel would keep the process alive.
}

/** For the supervisor to start another. By a signal, since the engine's own end may hang; its data bear that. */
function end(log: Logger, error: unknown): void {
  const text = `queries have not been answered ${SELF_CHECK.failures} times in a row; ending, to be started again`;
  log.fatal({ err: error }, text);
  process.kill(process.pid, 'SIGKILL');
}
