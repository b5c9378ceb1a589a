import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { insertStatements, type RowPlan, SPAN_DAYS, shares } from './query-rows.ts';
import { amount } from './report.ts';
import type { BenchStack, BenchWorkspace } from './stack.ts';

const WORKSPACES = 50;
/** As many as ClickHouse runs for its administrator, and one is a core. */
const INSERTS_AT_ONCE = 2;
const DAY_MS = 86_400_000;

/** What the rows of `query` are, so that a kept folder can be read again, and filled on after a stop. */
export interface KeptRows extends RowPlan {
  apiKeys: string[];
  insertsDone: number;
}

/** The workspace with a fifth of all events, and the one with the fewest. */
export interface MeasuredWorkspace extends BenchWorkspace {
  name: 'large' | 'small';
  events: number;
}

/** Resolves with the workspaces to measure once all rows are there. */
export async function fillStore(
  stack: BenchStack,
  { rows, keep, progress }: { rows: number; keep: string | undefined; progress(text: string): void },
): Promise<{ kept: KeptRows; measured: MeasuredWorkspace[] }> {
  const kept = readKept(keep, rows) ?? (await planRows(stack, rows));
  const remember = () => writeKept(keep, kept);
  remember();
  const statements = [...insertStatements(kept)].slice(kept.insertsDone);
  const total = kept.insertsDone + statements.length;
  while (statements.length > 0) {
    const some = statements.splice(0, INSERTS_AT_ONCE);
    await Promise.all(some.map(({ sql }) => stack.sql(sql)));
    kept.insertsDone += some.length;
    remember();
    progress(`${amount((rows * kept.insertsDone) / total)} of ${amount(rows)} rows made`);
  }
  return { kept, measured: [workspaceAt(kept, 0, 'large'), workspaceAt(kept, WORKSPACES - 1, 'small')] };
}

async function planRows(stack: BenchStack, rows: number): Promise<KeptRows> {
  const made = await stack.workspaces(WORKSPACES);
  made.sort((a, b) => (a.id < b.id ? -1 : 1));
  const sizes = shares(WORKSPACES);
  return {
    rows,
    workspaces: made.map(({ id }, index) => ({ id, share: sizes[index] ?? 0 })),
    apiKeys: made.map(({ apiKey }) => apiKey),
    untilMillis: Math.floor(Date.now() / DAY_MS) * DAY_MS,
    spanMillis: SPAN_DAYS * DAY_MS,
    insertsDone: 0,
  };
}

function workspaceAt(kept: KeptRows, index: number, name: MeasuredWorkspace['name']): MeasuredWorkspace {
  const [workspace, apiKey] = [kept.workspaces[index], kept.apiKeys[index]];
  if (workspace === undefined || apiKey === undefined) throw new Error('the kept rows are not of this case');
  return { id: workspace.id, apiKey, name, events: Math.round(workspace.share * kept.rows) };
}

const FILE = 'query-bench.json';

function readKept(folder: string | undefined, rows: number): KeptRows | undefined {
  if (folder === undefined || !existsSync(join(folder, FILE))) return undefined;
  const kept = JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as KeptRows;
  if (kept.rows === rows) return kept;
  throw new Error(`${folder} holds ${kept.rows} rows: give --rows ${kept.rows}, or another folder.`);
}

function writeKept(folder: string | undefined, kept: KeptRows): void {
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, FILE), JSON.stringify(kept), { mode: 0o600 });
}
