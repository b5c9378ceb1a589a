import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const STATUS_MARK = '\n#status ';

/** An answer as a user at a terminal sees it. */
export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read JSON of every shape
  json: any;
}

export interface Request {
  key?: string;
  body?: unknown;
}

/** The real `curl` where it is installed, else fetch: what the README tells a new user to paste. */
export async function curl(url: string, request: Request = {}): Promise<Answer> {
  const program = await findCurl();
  const [status, text] = program ? await byCurl(url, request) : await byFetch(url, request);
  return { status, json: JSON.parse(text) };
}

let curlFound: Promise<boolean> | undefined;

function findCurl(): Promise<boolean> {
  curlFound ??= run('curl', ['--version']).then(
    () => true,
    () => false,
  );
  return curlFound;
}

async function byCurl(url: string, { key, body }: Request): Promise<[number, string]> {
  const args = [
    [
      '--silent',
      '--show-error',
      '--globoff',
      '--max-time',
      '60',
      '--write-out',
      `${STATUS_MARK}%{http_code}`,
    ],
    key === undefined ? [] : ['--header', `Authorization: Bearer ${key}`],
    body === undefined
      ? []
      : ['--header', 'Content-Type: application/json', '--data-binary', JSON.stringify(body)],
    [url],
  ].flat();
  const { stdout } = await run('curl', args, { maxBuffer: MAX_OUTPUT_BYTES });
  const mark = stdout.lastIndexOf(STATUS_MARK);
  return [Number(stdout.slice(mark + STATUS_MARK.length)), stdout.slice(0, mark)];
}

async function byFetch(url: string, { key, body }: Request): Promise<[number, string]> {
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return [response.status, await response.text()];
}
