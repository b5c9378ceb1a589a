import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { inspect } from 'node:util';
import { createLogger } from '../../infra/log.ts';
import type { Figure } from './case.ts';
import { CASES } from './cases/index.ts';
import { EVENT_BYTES } from './event.ts';
import { describeMachine, describeVersions } from './machine.ts';
import { helpText, type Options, readOptions } from './options.ts';
import { table } from './report.ts';

const RESULTS_FOLDER = 'bench-results';
/** A machine as busy as this before the run makes figures that say little. */
const BUSY_LOAD = 0.5;
const DURABILITY = 'JetStream sync_interval always, answered after fsync; ClickHouse fsync_after_insert 1';

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), CASES);
  if (options === 'help') {
    process.stdout.write(`${helpText(CASES)}\n`);
    return;
  }
  const date = new Date().toISOString();
  const [machine, versions] = [describeMachine(), await describeVersions()];
  const conditions = { date, machine, versions, durability: DURABILITY, eventBytes: EVENT_BYTES };
  if (machine.loadBefore > BUSY_LOAD) {
    say(`The machine is busy (load average ${machine.loadBefore.toFixed(2)}); figures will be low.`);
  }
  const figures = await runCases(options);
  process.stdout.write(`${describeConditions(conditions)}\n\n${table(figures)}\n`);
  const file = options.jsonFile ?? `${RESULTS_FOLDER}/${date.replaceAll(':', '-')}.json`;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ ...conditions, seconds: options.seconds, figures }, null, 2)}\n`);
  say(`\nWritten to ${file}`);
}

async function runCases(options: Options): Promise<Figure[]> {
  const log = createLogger('bench', 'error');
  const figures: Figure[] = [];
  const { seconds, full, rows, keep } = options;
  for (const { name, run } of options.cases) {
    const progress = (text: string) => say(`${name}: ${text}`);
    figures.push(...(await run({ seconds, full, rows, keep, progress, log })));
  }
  return figures;
}

function describeConditions(conditions: {
  date: string;
  machine: ReturnType<typeof describeMachine>;
  versions: Awaited<ReturnType<typeof describeVersions>>;
  durability: string;
  eventBytes: number;
}): string {
  const { machine, versions } = conditions;
  return [
    `${conditions.date}  ${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}, load average before ${machine.loadBefore.toFixed(2)}`,
    `Immutable ${versions.immutable}, Node ${versions.node}, NATS ${versions.nats}, chDB ${versions.chdb}`,
    `${conditions.durability}; event of ${conditions.eventBytes} bytes; load generator on the same machine`,
  ].join('\n');
}

try {
  await main();
} catch (error) {
  say(inspect(error));
  process.exitCode = 1;
}
