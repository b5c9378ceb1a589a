import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Where infra/setup/libreoffice.mjs puts it. */
export const LIBREOFFICE_FOLDER = resolve(import.meta.dirname, '..', '..', '.immutable', 'libreoffice');

/** A cell as Calc holds it. */
export interface Cell {
  text: string;
  /** What it would compute; absent for a cell that is a value. */
  formula?: string;
}

const WITHIN_MS = 60_000;
/** Its way to ask for a second start, once it has made a profile for its user. */
const START_AGAIN = 81;

/** Opens a CSV file in LibreOffice Calc, as a user would with a double click, and tells what is in its cells. */
export async function openInCalc(csv: Uint8Array): Promise<Cell[][]> {
  const folder = mkdtempSync(join(tmpdir(), 'immutable-calc-'));
  try {
    writeFileSync(join(folder, 'export.csv'), csv);
    mkdirSync(join(folder, 'home'));
    const first = await convert(folder);
    if (first === START_AGAIN) await convert(folder);
    return cellsOf(readFileSync(join(folder, 'export.fods'), 'utf8'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Resolves to the exit code. */
function convert(folder: string): Promise<number> {
  const [program, libraries] = [join(LIBREOFFICE_FOLDER, 'program'), join(LIBREOFFICE_FOLDER, 'lib')];
  const args = ['--library-path', `${program}:${libraries}`, join(program, 'soffice.bin'), '--headless'];
  const profile = `-env:UserInstallation=${pathToFileURL(join(folder, 'home', 'profile'))}`;
  const wanted = ['--convert-to', 'fods', '--outdir', folder, join(folder, 'export.csv')];
  const env = {
    PATH: process.env.PATH,
    HOME: join(folder, 'home'),
    SAL_USE_VCLPLUGIN: 'svp',
    LC_ALL: 'C.UTF-8',
  };
  return new Promise((done, fail) => {
    execFile(
      join(LIBREOFFICE_FOLDER, 'ld.so'),
      [...args, profile, ...wanted],
      { env, timeout: WITHIN_MS },
      (error, _stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (code === 0 || code === START_AGAIN) done(code);
        else fail(new Error(`LibreOffice ended with ${code ?? error?.signal}: ${stderr}`));
      },
    );
  });
}

/** Of flat OpenDocument, which says of each cell its formula, how often it is repeated, and its text in paragraphs. */
function cellsOf(document: string): Cell[][] {
  const rows = [...document.matchAll(/<table:table-row\b[^>]*>(.*?)<\/table:table-row>/gs)];
  return rows.map(([, row = '']) =>
    [...row.matchAll(/<table:table-cell\b([^>]*?)(?:\/>|>(.*?)<\/table:table-cell>)/gs)].flatMap(
      ([, attributes = '', content = '']) => {
        const formula = /\btable:formula="([^"]*)"/.exec(attributes)?.[1];
        const repeated = Number(/\btable:number-columns-repeated="(\d+)"/.exec(attributes)?.[1] ?? 1);
        const cell = { text: textOf(content), ...(formula === undefined ? {} : { formula: plain(formula) }) };
        return Array.from({ length: repeated }, () => cell);
      },
    ),
  );
}

function textOf(content: string): string {
  const paragraphs = [...content.matchAll(/<text:p(?:\/>|>(.*?)<\/text:p>)/gs)];
  return paragraphs.map(([, text = '']) => plain(text)).join('\n');
}

function plain(xml: string): string {
  const spaces = (count: string | undefined) => ' '.repeat(Number(count ?? 1));
  return xml
    .replace(/<text:s(?: text:c="(\d+)")?\/>/g, (_, count) => spaces(count))
    .replace(/<text:tab\/>/g, '\t')
    .replace(/<text:line-break\/>/g, '\n')
    .replace(/<[^>]*>/g, '')
    .replace(/&#x([0-9a-f]+);/gi, (_, code) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&apos;/g, "'")
    .replace(/&amp;/g, '&');
}
