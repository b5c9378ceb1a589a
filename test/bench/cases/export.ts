import { setTimeout as sleep } from 'node:timers/promises';
import { TABLES } from '../../../infra/clickhouse/names.ts';
import { CSV_COLUMNS, FORMATS, type Format } from '../../../query/export/format.ts';
import type { BenchCase, Figure } from '../case.ts';
import { watchMemory } from '../memory.ts';
import { insertStatements } from '../query-rows.ts';
import { amount } from '../report.ts';
import { type BenchStack, type BenchWorkspace, withStack } from '../stack.ts';

const GOAL_PER_SECOND = 200_000;
const ROUNDS = 3;
const SHORT_ROWS = 1_000_000;
const FULL_ROWS = 5_000_000;
const SPAN_MS = 20 * 86_400_000;
const LOOK_MS = 20;

/** POST /exports until the file is there, hashed and with its manifest. */
export const exportCase: BenchCase = {
  name: 'export',
  about: `a file of ${amount(SHORT_ROWS)} events (${amount(FULL_ROWS)} with --full, or --rows N) by POST /exports`,
  async run({ rows: asked, full, progress, log }) {
    const rows = asked ?? (full ? FULL_ROWS : SHORT_ROWS);
    return await withStack({ progress, log }, async (stack) => {
      const workspace = await stack.workspace();
      const stored = await fill(stack, workspace, rows, progress);
      progress('signing them, since an export waits for a checkpoint');
      await stack.sign(workspace);
      progress('waiting for merges to end');
      await stack.untilQuiet();
      const limitMs = await median(ROUNDS, () => timeOf(() => readCsv(stack, workspace)));
      const figures: Figure[] = [];
      for (const format of FORMATS) {
        progress(`exporting ${amount(stored)} events as ${format}`);
        figures.push(await measure(stack, workspace, { format, stored, limitMs }));
      }
      return figures;
    });
  },
};

async function fill(
  stack: BenchStack,
  workspace: BenchWorkspace,
  rows: number,
  progress: (text: string) => void,
): Promise<number> {
  const plan = {
    rows,
    workspaces: [{ id: workspace.id, share: 1 }],
    untilMillis: Date.now() - 60_000,
    spanMillis: SPAN_MS,
  };
  let stored = 0;
  for (const { sql, rows: inserted } of insertStatements(plan)) {
    await stack.sql(sql);
    stored += inserted;
    progress(`${amount(stored)} of ${amount(rows)} events made`);
  }
  return stored;
}

async function measure(
  stack: BenchStack,
  workspace: BenchWorkspace,
  { format, stored, limitMs }: { format: Format; stored: number; limitMs: number },
): Promise<Figure> {
  const memory = watchMemory(() => stack.processes().filter(({ name }) => name === 'serve'));
  let bytes = 0;
  const took = await median(format === 'csv' ? ROUNDS : 1, async () => {
    const from = performance.now();
    bytes = await exportAll(stack, workspace, format, stored);
    return performance.now() - from;
  });
  const use = memory.stop();
  const value = (stored * 1000) / took;
  return {
    name: `export ${format}`,
    value,
    unit: 'events/s',
    ...(format === 'csv'
      ? {
          goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
          limit: { name: "ClickHouse's own FORMAT CSV", value: (stored * 1000) / limitMs },
        }
      : {}),
    remarks: [
      `${amount(stored)} events, ${amount(bytes / 1024 ** 2)} MiB, in ${amount(took)} ms`,
      ...(use === undefined
        ? []
        : [
            `memory of the process: ${amount(use.peakMiB)} MiB at its peak, ${amount(use.earlyMiB)} early, ${amount(use.lateMiB)} late`,
          ]),
    ],
  };
}

async function exportAll(
  stack: BenchStack,
  { apiKey }: BenchWorkspace,
  format: Format,
  rows: number,
): Promise<number> {
  const url = `${stack.baseUrl}/api/v1/exports`;
  const headers = { authorization: `Bearer ${apiKey}` };
  const created = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ format }) });
  const { data } = (await created.json()) as { data: { id: string } };
  for (;;) {
    const shown = (await (await fetch(`${url}/${data.id}`, { headers })).json()) as Shown;
    const { status, total_rows, file_size } = shown.data;
    if (status === 'failed') throw new Error(JSON.stringify(shown));
    if (status === 'completed' && file_size !== null) {
      if (total_rows !== rows) throw new Error(`${total_rows} events instead of ${rows}`);
      return file_size;
    }
    await sleep(LOOK_MS);
  }
}

interface Shown {
  data: { status: string; total_rows: number | null; file_size: number | null };
}

/** The same columns of the same rows, as ClickHouse gives them to a client that only counts. */
async function readCsv(stack: BenchStack, workspace: BenchWorkspace): Promise<void> {
  const { origin, username, password } = new URL(stack.readerUrl);
  const response = await fetch(origin, {
    method: 'POST',
    headers: { 'x-clickhouse-user': username, 'x-clickhouse-key': decodeURIComponent(password) },
    body: `SELECT ${CSV_COLUMNS.map(plainly).join(', ')} FROM ${TABLES.events} WHERE workspace_id = '${workspace.id}'
      ORDER BY created_at FORMAT CSV`,
  });
  if (response.status !== 200) {
    throw new Error(`ClickHouse answered ${response.status}: ${await response.text()}`);
  }
  for await (const _chunk of response.body ?? []) {
    // Read, and forgotten.
  }
}

function plainly(name: (typeof CSV_COLUMNS)[number]): string {
  if (name === 'targets' || name === 'metadata') return `JSONExtractRaw(private, '${name}')`;
  return name.endsWith('hash') ? `lower(hex(${name}))` : name;
}

async function timeOf(action: () => Promise<void>): Promise<number> {
  const from = performance.now();
  await action();
  return performance.now() - from;
}

async function median(rounds: number, measureOnce: () => Promise<number>): Promise<number> {
  const measured: number[] = [];
  for (let round = 0; round < rounds; round += 1) measured.push(await measureOnce());
  return measured.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
}
