import { connectClickHouse } from '../../../infra/clickhouse/client.ts';
import { TABLES } from '../../../infra/clickhouse/names.ts';
import { encodeCursor } from '../../../query/cursor.ts';
import { parseSearch, searchIdentity } from '../../../query/search.ts';
import type { BenchCase, Figure } from '../case.ts';
import { createHistogram, type Histogram } from '../histogram.ts';
import { type Question, questions } from '../query-questions.ts';
import { fillStore, type KeptRows, type MeasuredWorkspace } from '../query-store.ts';
import { amount } from '../report.ts';
import { type BenchStack, withStack } from '../stack.ts';

const SHORT_ROWS = 1_000_000;
const FULL_ROWS = 10_000_000;
const GOAL_P99_MS = 50;
/** A line of the table; half of them in each order. */
const REQUESTS = 40;
/** A line that is slow is not asked as often. */
const MOST_MS_A_LINE = 3_000;
const WARMUP_REQUESTS = 4;

/** GET /events over many rows: each filter alone and some together, first page and the page in the middle. */
export const query: BenchCase = {
  name: 'query',
  about: `GET /events with each filter among ${amount(SHORT_ROWS)} rows (${amount(FULL_ROWS)} with --full, or --rows N)`,
  async run({ rows: asked, full, keep, progress, log }) {
    const rows = asked ?? (full ? FULL_ROWS : SHORT_ROWS);
    return await withStack({ progress, log, dataDir: keep }, async (stack) => {
      const { kept, measured } = await fillStore(stack, { rows, keep, progress });
      progress('waiting for merges to end');
      await stack.untilQuiet();
      const roundTripMs = await selectOne(stack);
      const figures: Figure[] = [];
      for (const workspace of measured) {
        const middle = middleMicros(kept);
        for (const question of questions(await valuesOf(stack, workspace, kept))) {
          for (const page of ['first', 'deep'] as const) {
            const line = await measureLine(stack, { workspace, question, page, middle });
            const figure = figureOf(`query ${workspace.name} ${page}: ${question.name}`, line, roundTripMs);
            progress(
              `${figure.name}: p50 ${amount(figure.p50Ms ?? 0)} ms, p99 ${amount(figure.p99Ms ?? 0)} ms`,
            );
            figures.push(figure);
          }
        }
      }
      return figures;
    });
  },
};

interface Line {
  times: Histogram;
  refused: number;
  /** Of the last answer. */
  total: string;
}

interface LineOptions {
  workspace: MeasuredWorkspace;
  question: Question;
  page: 'first' | 'deep';
  /** `created_at` in the middle of all events, in microseconds. */
  middle: number;
}

async function measureLine(stack: BenchStack, options: LineOptions): Promise<Line> {
  const line: Line = { times: createHistogram(), refused: 0, total: '' };
  const until = performance.now() + MOST_MS_A_LINE;
  for (let n = 0; n < REQUESTS + WARMUP_REQUESTS; n += 1) {
    const parameters = parametersOf(stack, options, n);
    const from = performance.now();
    const response = await fetch(`${stack.baseUrl}/api/v1/events?${parameters}`, {
      headers: { authorization: `Bearer ${options.workspace.apiKey}` },
    });
    const text = await response.text();
    if (n >= WARMUP_REQUESTS) line.times.record(performance.now() - from);
    if (response.status === 422 && options.question.costly) line.refused += 1;
    else if (response.status !== 200)
      throw new Error(`${parameters} was answered ${response.status}: ${text}`);
    line.total = /"total":\d+,"total_is_estimate":\w+/.exec(text)?.[0] ?? text.slice(0, 200);
    if (performance.now() > until && n > WARMUP_REQUESTS) break;
  }
  return line;
}

/** A deep page follows a cursor to the middle, which only pages up to there would give: so it is made here. */
function parametersOf(
  stack: BenchStack,
  { workspace, question, page, middle }: LineOptions,
  n: number,
): string {
  const order = n % 2 === 0 ? 'desc' : 'asc';
  const parameters = new URLSearchParams({ ...question.of(n >> 1), order });
  if (page === 'first') return parameters.toString();
  const parsed = parseSearch(parameters.toString());
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.violations));
  const total = { count: 1, isEstimate: true };
  const binding = { workspaceId: workspace.id, search: searchIdentity(parsed.search) };
  parameters.set('cursor', encodeCursor(middle, binding, stack.cursorKey, total));
  return parameters.toString();
}

function figureOf(name: string, { times, refused, total }: Line, roundTripMs: number): Figure {
  const [p50Ms, p99Ms] = [times.quantile(0.5), times.quantile(0.99)];
  const cut = refused > 0 ? [`${refused} of ${times.count} refused for their cost (422)`] : [];
  return {
    name,
    value: p99Ms,
    unit: 'ms at p99',
    p50Ms,
    p99Ms,
    goal: { text: `p99 < ${GOAL_P99_MS} ms`, met: p99Ms < GOAL_P99_MS },
    limit: { name: 'ms: SELECT 1', value: roundTripMs },
    remarks: [`${times.count} requests, the last one with ${total}`, ...cut],
  };
}

function middleMicros({ untilMillis, spanMillis }: KeptRows): number {
  return (untilMillis - spanMillis / 2) * 1000;
}

async function valuesOf(stack: BenchStack, workspace: MeasuredWorkspace, kept: KeptRows) {
  const found = await stack.sql(
    `SELECT DISTINCT session_id FROM ${TABLES.events} WHERE workspace_id = '${workspace.id}' LIMIT 50 FORMAT TSV`,
  );
  const days = Math.floor(kept.spanMillis / DAY_MS);
  const day = (n: number) => {
    const from = kept.untilMillis - (1 + ((n * 13) % (days - 1))) * DAY_MS;
    return { from: new Date(from).toISOString(), to: new Date(from + DAY_MS).toISOString() };
  };
  return { sessions: found.toString().trim().split('\n'), day };
}

const DAY_MS = 86_400_000;

/** The same way to ClickHouse and back, with nothing to do there. */
async function selectOne(stack: BenchStack): Promise<number> {
  const clickhouse = connectClickHouse(stack.readerUrl);
  const times = createHistogram();
  try {
    for (let n = 0; n < REQUESTS; n += 1) {
      const from = performance.now();
      await (await clickhouse.query({ query: 'SELECT 1', format: 'JSONEachRow' })).text();
      times.record(performance.now() - from);
    }
  } finally {
    await clickhouse.close();
  }
  return times.quantile(0.99);
}
