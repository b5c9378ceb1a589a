/**
 * Why a request came to nothing, for whoever owns its destination. By the code alone: the message of an error holds
 * addresses, which would tell a stranger how our network is laid out.
 */
export function describeFailure(error: unknown, timeoutMs: number): string {
  const code = codeOf(error);
  if (TIME_IS_UP.has(code)) return `there was no answer within ${timeoutMs / 1000} s`;
  if (NO_ADDRESS.has(code)) return 'the host name does not resolve';
  if (code === 'ECONNREFUSED') return 'the connection was refused';
  if (CLOSED.has(code)) return 'the connection was closed before an answer came';
  if (/CERT|ISSUER|SIGNATURE|TLS|SSL/.test(code)) return `the TLS connection failed (${code})`;
  return `the request failed (${code})`;
}

const TIME_IS_UP = new Set([
  'TimeoutError',
  'ETIMEDOUT',
  'ETIMEOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);
const NO_ADDRESS = new Set(['ENOTFOUND', 'ENODATA', 'ESERVFAIL', 'EREFUSED', 'EBADNAME']);
const CLOSED = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  // Of several addresses, one error each: the first stands for all.
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
