import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Paths whose values never reach a log, wherever they turn up. */
const SECRET_PATHS = ['password', 'api_key', 'token', 'secret', 'authorization', 'privateKey', 'secretKey'];

/** JSON lines on standard error: standard output belongs to what a command prints for its user. */
export function createLogger(name: string, level: string): Logger {
  return pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_PATHS.flatMap((path) => [path, `*.${path}`]), censor: '[secret]' },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
