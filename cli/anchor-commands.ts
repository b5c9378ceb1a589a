import { setTimeout as sleep } from 'node:timers/promises';
import { type AnchorJob, createAnchorJob } from '../anchor/job.ts';
import type { Made } from '../anchor/maker.ts';
import { periodName } from '../anchor/period.ts';
import { type AnchorRecords, anchorRecords } from '../anchor/records.ts';
import { retryFailed } from '../anchor/runner.ts';
import type { AnchorBatch } from '../control/anchors.ts';
import { readOrCreateInstall } from '../control/install.ts';
import { isConflict } from '../control/workspaces.ts';
import { ImmutableError } from '../core/errors.ts';
import { connectClickHouse } from '../infra/clickhouse/client.ts';
import type { Config } from '../infra/config.ts';
import { createLogger } from '../infra/log.ts';
import { createMetrics } from '../infra/metrics.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { anchorJobOptions } from './anchor.ts';
import { openLedger } from './anchor-ledger.ts';
import { natsUrlFor } from './manage.ts';
import { runningClickHouseUrl } from './running-clickhouse.ts';
import { openControlBuckets } from './stores.ts';
import { type Terminal, table } from './terminal.ts';

interface Output {
  json: boolean;
}

/** Between looks at what is waited for. */
const POLL_MS = 1_000;
/** A block is safe some minutes after it was made; whoever does not want to wait presses Ctrl-C, and nothing is lost. */
const CONFIRMED_WITHIN_MS = 20 * 60_000;
/** A role that runs beside this command takes what was made at once. */
const TAKEN_WITHIN_MS = 5_000;

/**
 * Makes anchors and brings them onto the chain, or watches the role do it that runs beside. Throws with `unavailable`
 * where one has failed, or the chain to which they go has not confirmed them in time.
 */
export async function anchorRunCommand(
  config: Config,
  terminal: Terminal,
  { period, now, json }: Output & { period: string | undefined; now: boolean },
): Promise<void> {
  const log = createLogger('anchor', 'silent');
  const ledger = await openLedger(config, log);
  const nc = await connect(config);
  const clickhouse = connectClickHouse(writerUrl(config));
  try {
    const install = await readOrCreateInstall((await openControlBuckets(nc)).install, config);
    const metrics = createMetrics('anchor');
    const options = await anchorJobOptions({ config, ledger, nc, clickhouse, install, log, metrics });
    const records = anchorRecords(options.buckets.anchors);
    const job = createAnchorJob(options);
    await retryFailed({ records, now: Date.now });
    const title = now ? 'everything that is signed now' : (period ?? 'every day that is due');
    const make = now ? job.makeNow : period === undefined ? job.makeDue : () => job.makeDay(period);
    const made = await terminal.step(`anchor of ${title}`, () => untilMade(make, terminal));
    await followUp({ records, terminal, hasLedger: ledger !== undefined, job });
    const shown = await wanted(records, made);
    terminal.result(json ? JSON.stringify({ batches: shown.map(asJson) }) : describeRun(shown));
    refuseFailed(shown);
    if (ledger !== undefined) refuseUnconfirmed(shown, job.problem());
  } finally {
    await clickhouse.close();
    await nc.close();
  }
}

/** All there are, newest first. */
export async function anchorListCommand(config: Config, terminal: Terminal, { json }: Output): Promise<void> {
  const nc = await connect(config);
  try {
    const records = anchorRecords(await openBucket(nc, BUCKETS.anchors));
    const batches = (await records.batches()).map(({ batch }) => batch).reverse();
    terminal.result(json ? JSON.stringify({ batches: batches.map(asJson) }) : describe(batches));
  } finally {
    await nc.close();
  }
}

/** Waits for what was received before the end of the day and is not signed yet, and takes turns with another job. */
async function untilMade(make: () => Promise<Made>, terminal: Terminal): Promise<AnchorBatch[]> {
  const batches: AnchorBatch[] = [];
  let hasSaid = false;
  for (let conflicts = 0; ; ) {
    try {
      const made = await make();
      batches.push(...made.batches);
      if (!made.isWaiting) return batches;
      if (!hasSaid) terminal.say('… what was received before the end of the day is not signed yet; waiting');
      hasSaid = true;
    } catch (error) {
      conflicts += 1;
      if (!isConflict(error) || conflicts > 3) throw error;
    }
    await sleep(POLL_MS);
  }
}

/** Until everything is confirmed or has failed; where nothing can bring it there, until that is known. */
async function followUp(options: {
  records: AnchorRecords;
  terminal: Terminal;
  hasLedger: boolean;
  job: Pick<AnchorJob, 'advance' | 'problem'>;
}): Promise<void> {
  const { records, terminal, hasLedger, job } = options;
  const began = performance.now();
  const waited = () => performance.now() - began;
  let said: string | undefined;
  const isOver = async () => {
    if (hasLedger) await job.advance();
    if (job.problem() !== undefined && job.problem() !== said) terminal.say(`… ${job.problem()}`);
    said = job.problem() ?? said;
    const open = (await unconfirmed(records)).filter(({ status }) => status !== 'failed');
    if (open.length === 0 || waited() > CONFIRMED_WITHIN_MS) return true;
    const isUntouched = open.every(({ status }) => status === 'pending');
    return (
      !hasLedger && isUntouched && (open.every(({ reason }) => reason !== null) || waited() > TAKEN_WITHIN_MS)
    );
  };
  if (!(await isOver())) {
    await terminal.step('confirmation by the chain', async () => {
      while (!(await isOver())) await sleep(POLL_MS);
    });
  }
  // No role has said how they stand.
  if (
    !hasLedger &&
    (await unconfirmed(records)).some(({ reason, status }) => status === 'pending' && reason === null)
  ) {
    await job.advance();
  }
}

async function unconfirmed(records: AnchorRecords): Promise<AnchorBatch[]> {
  return (await records.batches()).map(({ batch }) => batch).filter(({ status }) => status !== 'confirmed');
}

/** What was made, and what was not finished before. */
async function wanted(records: AnchorRecords, made: readonly AnchorBatch[]): Promise<AnchorBatch[]> {
  const numbers = new Set(made.map(({ number }) => number));
  const all = (await records.batches()).map(({ batch }) => batch);
  return all.filter(({ number, status }) => numbers.has(number) || status !== 'confirmed');
}

function refuseFailed(batches: readonly AnchorBatch[]): void {
  const failed = batches.filter(({ status }) => status === 'failed');
  if (failed.length === 0) return;
  throw new ImmutableError('unavailable', `${failed.length} of the anchors failed: ${failed[0]?.reason}`, {
    nextStep: 'Mend what the reason says, and run `immutable anchor run` again.',
  });
}

/** Whoever runs it from cron must hear of it. */
function refuseUnconfirmed(batches: readonly AnchorBatch[], problem: string | undefined): void {
  const open = batches.filter(({ status }) => status !== 'confirmed');
  if (open.length === 0) return;
  const why = problem ?? open[0]?.reason ?? 'The chain has not confirmed them.';
  throw new ImmutableError('unavailable', `${open.length} of the anchors are not confirmed yet. ${why}`, {
    nextStep: 'Nothing is lost: the role `anchor` goes on, and so does `immutable anchor run`.',
  });
}

function asJson(batch: AnchorBatch) {
  const { inclusion, attempts } = batch;
  return {
    number: batch.number,
    id: batch.id,
    period_end: batch.period_end,
    anchor_root: batch.anchor_root,
    workspaces: batch.leaves,
    status: batch.status,
    reason: batch.reason,
    chain_id: batch.chain_id,
    contract: batch.contract,
    tx_hash: inclusion?.tx_hash ?? attempts.at(-1)?.tx_hash ?? null,
    block_number: inclusion?.block_number ?? null,
    block_time: inclusion?.block_time ?? null,
  };
}

function describeRun(batches: readonly AnchorBatch[]): string {
  return batches.length === 0 ? 'There is nothing to anchor.' : describe(batches);
}

function describe(batches: readonly AnchorBatch[]): string {
  if (batches.length === 0) return 'Nothing was anchored yet.';
  const rows = batches.map((batch) => {
    const { tx_hash, block_number } = asJson(batch);
    return [
      String(batch.number),
      periodName(batch.period_end),
      String(batch.leaves),
      batch.status,
      block_number === null ? '' : String(block_number),
      tx_hash ?? batch.reason ?? '',
    ];
  });
  return table(['NUMBER', 'PERIOD', 'WORKSPACES', 'STATUS', 'BLOCK', 'TRANSACTION'], rows);
}

function connect(config: Config): Promise<NatsConnection> {
  return connectNats({
    url: natsUrlFor(config),
    name: 'immutable anchor',
    log: createLogger('anchor', 'silent'),
    firstConnectMs: 5_000,
  });
}

/** Of a user that may insert. */
function writerUrl(config: Config): string {
  const url = config.clickhouseUrl ?? runningClickHouseUrl(config, 'writer');
  if (url !== undefined) return url;
  throw new ImmutableError('unavailable', `Immutable does not run on the data directory ${config.dataDir}.`, {
    nextStep: 'Start it with `npm start`, or set IMMUTABLE_CLICKHOUSE_URL to a user that may insert.',
  });
}
