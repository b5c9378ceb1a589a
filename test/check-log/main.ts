import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { dataDirAt } from '../../cli/data-dir.ts';
import { findRunning } from '../../cli/run-file.ts';
import { type Acknowledged, checkLog, reportText } from './check-log.ts';

/** `node dist/test/check-log/main.js --data-dir ./data`: audits what a running stack holds. Exit code 0 only if all is well. */
const options = new Command('check-log')
  .description('Audit everything that a running stack has stored.')
  .requiredOption('--data-dir <path>', "the stack's data directory")
  .option('--acknowledged <file>', 'what got a 202: a line {"id","workspaceId","request"?,"place"?} each')
  .option('--settle <seconds>', 'how long the pipeline may stand still before a missing event is lost', '30')
  .option('--json', 'print the report as JSON')
  .parse()
  .opts<{ dataDir: string; acknowledged?: string; settle: string; json?: boolean }>();

const run = findRunning(dataDirAt(options.dataDir).runFile);
const clickhouse = run?.clickhouse_admin_url;
if (clickhouse === undefined || clickhouse === null) {
  console.error(
    `Nothing runs on ${options.dataDir}. Start it first: IMMUTABLE_DATA_DIR=${options.dataDir} npm start`,
  );
  process.exit(2);
}
const report = await checkLog({
  clickhouse,
  nats: run?.nats_url ?? undefined,
  acknowledged: options.acknowledged === undefined ? [] : await readAcknowledged(options.acknowledged),
  settleMs: Number(options.settle) * 1000,
});
console.log(options.json ? JSON.stringify(report) : reportText(report));
process.exitCode = report.ok ? 0 : 1;

async function readAcknowledged(file: string): Promise<(Acknowledged & { id: string })[]> {
  const events: (Acknowledged & { id: string })[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (line !== '') events.push(JSON.parse(line));
  }
  return events;
}
