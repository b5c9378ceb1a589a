import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SingleBar } from 'cli-progress';
import { ImmutableError } from '../core/errors.ts';
import type { Config } from '../infra/config.ts';
import { readCredentials } from './credentials.ts';
import { dataDirAt } from './data-dir.ts';
import { demoEvents, demoTemplates } from './demo-events.ts';
import { findRunning } from './run-file.ts';
import type { Terminal } from './terminal.ts';

/** Most that one request may carry. */
const BATCH_EVENTS = 100;
const REQUESTS_AT_A_TIME = 4;
const SPAN_MS = 7 * 24 * 3_600_000;
const STORED_WITHIN_MS = 60_000;
const RETRIES_WITHIN_MS = 30_000;

interface DemoOptions {
  events: number;
  url?: string;
  key?: string;
  json: boolean;
}

/** Sends realistic events to a running API, then reads back and verifies what became of them. */
export async function demo(config: Config, terminal: Terminal, options: DemoOptions): Promise<void> {
  const api = connectApi(config, options);
  const began = new Date();
  const sent = await send(api, options.events, options.json);
  const storedMs = await untilStored(api, sent.lastId);
  const verified = await verify(api, began);
  const summary = {
    sent: options.events,
    accepted: sent.accepted,
    seconds: round(sent.ms / 1000),
    events_per_second: Math.round(options.events / (sent.ms / 1000)),
    readable_after_seconds: round(storedMs / 1000),
    verified,
  };
  terminal.result(options.json ? JSON.stringify(summary) : closing(summary, api));
  if (!verified.valid || sent.accepted !== options.events) {
    throw new ImmutableError('internal', 'The demo did not go as it should; the figures above say where.');
  }
}

type Summary = {
  sent: number;
  accepted: number;
  seconds: number;
  events_per_second: number;
  readable_after_seconds: number;
  verified: Verification;
};

function closing(summary: Summary, api: Api): string {
  const { verified } = summary;
  return `
  Sent       ${summary.sent.toLocaleString('en')} events in ${summary.seconds} s (${summary.events_per_second.toLocaleString('en')} a second), ${summary.accepted.toLocaleString('en')} accepted
  Readable   ${summary.readable_after_seconds} s after the last answer
  Verified   ${verified.events_checked.toLocaleString('en')} events: ${verified.valid ? 'the chain is whole' : 'THE CHAIN IS BROKEN'}

Look at them:

  curl -sS -H 'Authorization: Bearer ${api.key}' '${api.url}/api/v1/events?action=incident.*&limit=5'
  curl -sS -H 'Authorization: Bearer ${api.key}' '${api.url}/api/v1/events?search=priya&limit=5'
  curl -sS -H 'Authorization: Bearer ${api.key}' '${api.url}/api/v1/verify'
`;
}

// --- Sending -------------------------------------------------------------------------------------

async function send(
  api: Api,
  count: number,
  quiet: boolean,
): Promise<{ accepted: number; lastId: string; ms: number }> {
  const batches = batchesOf(count);
  const bar = progressBar(quiet);
  const began = performance.now();
  let accepted = 0;
  let lastId = '';
  bar.start(count, 0);
  async function sendNext(): Promise<void> {
    for (const batch of batches) {
      const answers = await sendBatch(api, batch);
      accepted += answers.filter(({ status }) => status !== 'rejected').length;
      lastId = answers.at(-1)?.id ?? lastId;
      bar.increment(batch.length);
    }
  }
  try {
    await Promise.all(Array.from({ length: REQUESTS_AT_A_TIME }, sendNext));
  } finally {
    bar.stop();
  }
  return { accepted, lastId, ms: performance.now() - began };
}

/** A keyed event may be sent again after a lost answer: there will still be one of it. */
function* batchesOf(count: number): Generator<object[]> {
  const run = randomUUID();
  const endMs = Date.now();
  const events = demoEvents({
    templates: readTemplates(),
    count,
    random: Math.random,
    startMs: endMs - SPAN_MS,
    endMs,
  });
  let batch: object[] = [];
  let index = 0;
  for (const event of events) {
    batch.push({ ...event, idempotency_key: `demo-${run}-${index++}` });
    if (batch.length === BATCH_EVENTS) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

function readTemplates() {
  const paths = ['../examples/demo-events.json', '../../examples/demo-events.json'];
  const file = paths.map((path) => fileURLToPath(new URL(path, import.meta.url))).find(existsSync);
  if (file === undefined) throw new ImmutableError('misconfigured', 'examples/demo-events.json is missing.');
  return demoTemplates.parse(JSON.parse(readFileSync(file, 'utf8')));
}

function progressBar(quiet: boolean): Pick<SingleBar, 'start' | 'increment' | 'stop'> {
  if (quiet || !process.stderr.isTTY) return { start() {}, increment() {}, stop() {} };
  return new SingleBar({
    format: '  {bar} {percentage}%  {value} of {total} events  {eta_formatted} left',
    hideCursor: true,
  });
}

interface Answer {
  id?: string;
  status: 'queued' | 'duplicate' | 'rejected';
}

async function sendBatch(api: Api, events: object[]): Promise<Answer[]> {
  const deadline = performance.now() + RETRIES_WITHIN_MS;
  for (;;) {
    const response = await api.request('POST', '/events/batch', { events });
    if (response.ok) return parseAnswers(await response.json());
    if (response.status !== 503 || performance.now() > deadline) throw await refused(response);
    await response.body?.cancel();
    await sleep(Number(response.headers.get('retry-after') ?? 1) * 1_000);
  }
}

function parseAnswers(body: unknown): Answer[] {
  const events = typeof body === 'object' && body !== null && 'events' in body ? body.events : undefined;
  if (Array.isArray(events)) return events;
  throw new ImmutableError('internal', 'The API answered with something else than a list of events.');
}

// --- Reading back --------------------------------------------------------------------------------

/** Milliseconds until the last event can be read. */
async function untilStored(api: Api, id: string): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < STORED_WITHIN_MS) {
    const response = await api.request('GET', `/events/${id}`);
    await response.body?.cancel();
    if (response.ok) return performance.now() - began;
    await sleep(50);
  }
  throw new ImmutableError(
    'unavailable',
    `The last event was accepted, but cannot be read after ${STORED_WITHIN_MS / 1000} s.`,
    { nextStep: 'Look at logs/chain.log in the data directory.' },
  );
}

interface Verification {
  valid: boolean;
  events_checked: number;
}

/** Everything since then, and the link to what was before. */
async function verify(api: Api, since: Date): Promise<Verification> {
  const response = await api.request('GET', `/verify?from=${since.toISOString()}&limit=1000000`);
  if (!response.ok) throw await refused(response);
  const body: { data?: Partial<Verification> } = JSON.parse(await response.text());
  return { valid: body.data?.valid === true, events_checked: body.data?.events_checked ?? 0 };
}

// --- The API -------------------------------------------------------------------------------------

interface Api {
  url: string;
  key: string;
  request(method: 'GET' | 'POST', path: string, body?: object): Promise<Response>;
}

function connectApi(config: Config, options: { url?: string; key?: string }): Api {
  const directory = dataDirAt(config.dataDir);
  const credentials = readCredentials(directory.credentialsFile);
  const url = options.url ?? findRunning(directory.runFile)?.base_url;
  const key = options.key ?? credentials?.api_key;
  if (typeof url !== 'string' || key === undefined) {
    throw new ImmutableError(
      'unavailable',
      `Immutable does not run on the data directory ${config.dataDir}.`,
      {
        nextStep: 'Start it with `npm start`, or give --url and --key.',
      },
    );
  }
  return {
    url,
    key,
    request: async (method, path, body) => {
      try {
        return await fetch(`${url}/api/v1${path}`, {
          method,
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
      } catch (cause) {
        throw new ImmutableError('unavailable', `The API at ${url} does not answer.`, { cause });
      }
    },
  };
}

async function refused(response: Response): Promise<ImmutableError> {
  const text = await response.text();
  return new ImmutableError('internal', `The API answered ${response.status}: ${text.slice(0, 500)}`);
}

function round(seconds: number): number {
  return Math.round(seconds * 100) / 100;
}
