import { z } from 'zod';
import { ImmutableError } from '../../core/errors.ts';

/** One endpoint of a chain, spoken to by JSON-RPC 2.0 over HTTP (https://www.jsonrpc.org/specification). */
export interface JsonRpc {
  /** What people and logs are told: a URL holds the keys of whoever pays for it. */
  readonly host: string;
  /** Throws `unavailable` when there is no answer in time, or none that is JSON-RPC. */
  call(method: string, params: readonly unknown[]): Promise<RpcAnswer>;
}

export type RpcAnswer =
  | { kind: 'result'; value: unknown }
  | { kind: 'error'; code: number; message: string; data: unknown };

const MAX_ANSWER_BYTES = 4 * 1024 ** 2;
const MAX_MESSAGE_LENGTH = 200;
/** Parts of a URL that are shorter are no secrets: `v1`, `rpc`, `mainnet`. */
const SECRET_LENGTH = 8;

const answerSchema = z.union([
  z
    .looseObject({
      error: z.looseObject({ code: z.int(), message: z.string(), data: z.unknown().optional() }),
    })
    .transform(({ error: { code, message, data } }): RpcAnswer => ({ kind: 'error', code, message, data })),
  z
    .looseObject({ result: z.unknown() })
    .refine((answer) => 'result' in answer)
    .transform(({ result }): RpcAnswer => ({ kind: 'result', value: result })),
]);

export function jsonRpc(url: string, options: { timeoutMs: number }): JsonRpc {
  const address = new URL(url);
  const { host, pathname, search, username, password } = address;
  address.username = address.password = '';
  const secrets = [...pathname.split('/'), ...search.split(/[?&=]/), username, password].filter(
    (part) => part.length >= SECRET_LENGTH,
  );
  const headers = {
    'Content-Type': 'application/json',
    ...(username === '' ? {} : { Authorization: basic(username, password) }),
  };
  let id = 0;
  return {
    host,
    async call(method, params) {
      id += 1;
      const body = JSON.stringify({ jsonrpc: '2.0', id, method, params });
      const { status, text } = await post(address.href, { headers, body, timeoutMs: options.timeoutMs });
      const answer = parse(text);
      if (answer === undefined || (status >= 300 && answer.kind === 'result')) {
        throw new ImmutableError('unavailable', `it answers ${method} with HTTP ${status} and no JSON-RPC`);
      }
      return answer.kind === 'error' ? { ...answer, message: readable(answer.message, secrets) } : answer;
    },
  };
}

/** The deadline is for all of it: an endpoint that sends a byte now and then is as good as dead. */
async function post(
  url: string,
  { headers, body, timeoutMs }: { headers: Record<string, string>; body: string; timeoutMs: number },
): Promise<{ status: number; text: string }> {
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'error' });
    return { status: response.status, text: await textOf(response) };
  } catch (error) {
    if (error instanceof ImmutableError) throw error;
    // Its message, and its cause's, may name the URL: neither is handed on.
    throw new ImmutableError('unavailable', reasonOf(error, timeoutMs));
  }
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new ImmutableError('unavailable', 'its answer is far too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string) {
  try {
    return answerSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'TimeoutError')
    return `it does not answer within ${timeoutMs} ms`;
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no connection';
  return `it cannot be reached (${code})`;
}

function basic(username: string, password: string): string {
  const credentials = `${decoded(username)}:${decoded(password)}`;
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}

/** As it stands where a `%` in it begins no escape. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What a stranger wrote, on one line, and without the keys that it was given. */
function readable(message: string, secrets: readonly string[]): string {
  const line = message.replace(/[^\x20-\x7e]+/g, ' ');
  return secrets
    .reduce((text, secret) => text.replaceAll(secret, '[secret]'), line)
    .slice(0, MAX_MESSAGE_LENGTH);
}
