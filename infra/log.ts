import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Members whose values never reach a log, wherever they turn up. */
const SECRET_MEMBERS = [
  'password',
  'api_key',
  'apiKey',
  'token',
  'secret',
  'authorization',
  'privateKey',
  'secretKey',
];

/**
 * JSON lines, to standard error unless told: standard output belongs to what a command prints for its
 * user. Written at once, so that the last line before a crash is there.
 */
export function createLogger(
  name: string,
  level: string,
  destination: DestinationStream = pino.destination({ fd: 2, sync: true }),
): Logger {
  return pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_MEMBERS.flatMap((member) => [member, `*.${member}`]), censor: '[secret]' },
    },
    destination,
  );
}

/** Where a process logs whose standard error is read by a person. */
export function toFile(path: string): DestinationStream {
  return pino.destination({ dest: path, mkdir: true, mode: 0o600, sync: true });
}
