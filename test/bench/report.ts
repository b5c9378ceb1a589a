import type { Figure } from './case.ts';

const HEADINGS = ['case', 'figure', 'p50', 'p99', 'goal', 'limit beside it', 'of limit'];

/** The figures as a table in plain text, one line each, with their remarks below. */
export function table(figures: readonly Figure[]): string {
  const rows = [HEADINGS, ...figures.map(cells)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return [lines[0], rule, ...lines.slice(1), ...remarks(figures)].join('\n');
}

function cells(figure: Figure): string[] {
  const { goal, limit } = figure;
  return [
    figure.name,
    `${amount(figure.value)} ${figure.unit}`,
    figure.p50Ms === undefined ? '' : `${amount(figure.p50Ms)} ms`,
    figure.p99Ms === undefined ? '' : `${amount(figure.p99Ms)} ms`,
    goal === undefined ? '' : `${goal.text}: ${goal.met ? 'met' : 'not met'}`,
    limit === undefined ? '' : `${amount(limit.value)} ${limit.name}`,
    limit === undefined ? '' : `${Math.round((100 * figure.value) / limit.value)} %`,
  ];
}

function remarks(figures: readonly Figure[]): string[] {
  const given = figures.flatMap((figure) => (figure.remarks ?? []).map((text) => `${figure.name}: ${text}`));
  return given.length === 0 ? [] : ['', ...given];
}

/** Three significant digits below 1,000, whole and grouped from there on. */
export function amount(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
