import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArchiveLine } from '../../core/archive.ts';
import { parseCheckpointNote, workspaceOf } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { LogEvents, LogSource } from '../../core/log.ts';
import { TILE_WIDTH, type TileName, tilePath } from '../../core/tile.ts';
import { checkAhead } from './checkers.ts';
import { lastLineIn, wholeLines } from './lines.ts';
import { eventLines } from './section.ts';

/** Where a live log is read from. */
export interface RemoteLog {
  /** Of the install's API, or of the public form of one log; without a slash at its end. */
  url: string;
  /** Where the install publishes its keys. */
  keysUrl: string;
  /** Undefined for the public form. */
  apiKey: string | undefined;
}

/** Throws `misconfigured` for an address that is none, or that needs a key. */
export function parseLogUrl(text: string, apiKey: string | undefined): RemoteLog {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new ImmutableError('misconfigured', `${text} is no address of a log.`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ImmutableError(
      'misconfigured',
      'An address holds no user or password; name the API key with --key-file.',
    );
  }
  const [, path = '', publicLog] = INSTALL_PATH.exec(url.pathname) ?? [];
  const api = `${url.origin}${path}/api/v1`;
  const keysUrl = `${api}/public/keys`;
  if (publicLog !== undefined) return { url: `${api}${publicLog}`, keysUrl, apiKey: undefined };
  if (apiKey === undefined) {
    throw new ImmutableError('misconfigured', `${text} is read with an API key.`, {
      nextStep:
        'Put a key with the scope read in a file and name it with --key-file, or set IMMUTABLE_API_KEY; or give the address of a public log, …/public/logs/ws_….',
    });
  }
  return { url: api, keysUrl, apiKey };
}

/** Where an install is, whether its API was named or only the install, and which of its public logs, if one is. */
const INSTALL_PATH = /^(.*?)\/*(?:\/api\/v1)?(\/public\/logs\/ws_[0-9a-f]+)?\/*$/;

/** From the file, or else from the environment. Throws `misconfigured` for a file that cannot be read. */
export function readApiKey(
  file: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  if (file === undefined) return env.IMMUTABLE_API_KEY || undefined;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new ImmutableError('misconfigured', `The key file ${file} cannot be read.`, { cause });
  }
}

const MAX_NOTE_BYTES = 1024 * 1024;
const MAX_TILE_BYTES = 32 * TILE_WIDTH;
const EVENTS_A_REQUEST = 10_000;
/** As many as make waking a thread worth it. */
const SECTION_BYTES = 512 * 1024;
/** Of a small one. */
const BYTES_AN_EVENT = 512;

/** Reads a log over HTTP. What is answered is bounded here, and believed nowhere. */
export function remoteLog({ url, apiKey }: RemoteLog): LogSource {
  let size = 0;
  let workspaceId = '';

  async function tile(name: TileName): Promise<Uint8Array | undefined> {
    const response = await get(`${url}/${tilePath(name)}`, apiKey);
    if (response.status === 404) {
      await response.body?.cancel();
      // Once a tile is full, a log need not keep what it was before.
      return name.width === TILE_WIDTH ? undefined : await tile({ ...name, width: TILE_WIDTH });
    }
    return await readBounded(await requireOk(response), MAX_TILE_BYTES);
  }

  async function* events(first: number): AsyncGenerator<LogEvents> {
    const bytes = Math.max(0, size + 1 - first) * BYTES_AN_EVENT;
    for await (const { data, section } of checkAhead({ kind: 'log', workspaceId }, sections(first), bytes)) {
      yield { lines: () => eventLines(data), sound: section.events };
    }
  }

  async function* sections(first: number): AsyncGenerator<Uint8Array> {
    for (let next = first; next <= size; ) {
      const address = `${url}/log/events?first=${next}&limit=${EVENTS_A_REQUEST}`;
      const response = await requireOk(await get(address, apiKey));
      let last: string | undefined;
      for await (const data of wholeLines(bytesOf(response), SECTION_BYTES)) {
        last = lastLineIn(data) ?? last;
        yield data;
      }
      const lastSeq = last === undefined ? 0 : (parseArchiveLine(last)?.seq ?? 0);
      if (lastSeq < next) return; // none is left, or none that could be gone on from
      next = lastSeq + 1;
    }
  }

  return {
    async checkpoint() {
      const response = await requireOk(await get(`${url}/checkpoint`, apiKey));
      const note = Buffer.from(await readBounded(response, MAX_NOTE_BYTES)).toString('utf8');
      const checkpoint = parseCheckpointNote(note);
      size = checkpoint?.size ?? 0;
      workspaceId = checkpoint === null ? '' : workspaceOf(checkpoint);
      return note;
    },
    tile,
    ...(apiKey === undefined ? {} : { events }),
  };
}

/** What is served at an address for which no key is needed. */
export async function getText(url: string): Promise<string> {
  const response = await requireOk(await get(url, undefined));
  return Buffer.from(await readBounded(response, MAX_NOTE_BYTES)).toString('utf8');
}

const ATTEMPTS = 5;
const MAX_WAIT_MS = 30_000;
const SILENT_MS = 60_000;

/** The answer, whatever it says; asked again where the server is busy. Throws `unavailable` where there is none. */
async function get(url: string, apiKey: string | undefined): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    const response = await request(url, apiKey);
    if ((response.status !== 503 && response.status !== 429) || attempt === ATTEMPTS) return response;
    await response.body?.cancel();
    const seconds = Number(response.headers.get('retry-after') ?? 1);
    await sleep(Math.min(MAX_WAIT_MS, seconds >= 0 ? seconds * 1_000 : 1_000));
  }
}

async function request(url: string, apiKey: string | undefined): Promise<Response> {
  try {
    return await fetch(url, {
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      redirect: 'error', // a key goes nowhere but where the caller sent it
      signal: AbortSignal.timeout(10 * SILENT_MS),
    });
  } catch (cause) {
    throw new ImmutableError('unavailable', `${new URL(url).origin} does not answer.`, { cause });
  }
}

async function requireOk(response: Response): Promise<Response> {
  if (response.ok) return response;
  const { pathname } = new URL(response.url);
  const text = Buffer.from(await readBounded(response, 64 * 1024, 'cut')).toString('utf8');
  const why = /"message":"((?:[^"\\]|\\.){1,300})"/.exec(text)?.[1] ?? 'without a reason';
  const code = response.status === 401 || response.status === 403 ? 'misconfigured' : 'unavailable';
  throw new ImmutableError(code, `${pathname} was answered with ${response.status}: ${why}`);
}

async function* bytesOf(response: Response): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await withinTime(reader.read());
      if (done) return;
      yield value;
    }
  } catch (cause) {
    if (cause instanceof ImmutableError) throw cause;
    throw new ImmutableError('unavailable', 'The answer was cut off.', { cause });
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  const late = new AbortController();
  const timeout = sleep(SILENT_MS, undefined, { signal: late.signal, ref: false }).then(
    () => {
      throw new ImmutableError('unavailable', `The server has been silent for ${SILENT_MS / 1000} s.`);
    },
    () => new Promise<never>(() => {}), // called off
  );
  try {
    return await Promise.race([work, timeout]);
  } finally {
    late.abort();
  }
}

/** Throws `unavailable` for a longer answer, or leaves its end away. */
async function readBounded(
  response: Response,
  maxBytes: number,
  longer: 'refuse' | 'cut' = 'refuse',
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of bytesOf(response)) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes <= maxBytes) continue;
    if (longer === 'cut') break;
    throw new ImmutableError(
      'unavailable',
      `${new URL(response.url).pathname} was answered with more than ${maxBytes} bytes.`,
    );
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}
