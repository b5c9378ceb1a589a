import type { ClickHouseClient } from '@clickhouse/client';
import { pino } from 'pino';
import { connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { connectNats } from '../../infra/nats/connect.ts';
import { verifyChain } from '../../query/verify.ts';
import { type Acknowledged, type AcknowledgedById, createPromiseCheck, untilStored } from './acknowledged.ts';
import { checkAnchors } from './anchors.ts';
import { checkChained } from './chained.ts';
import { createFindings, type Finding, type Report } from './findings.ts';
import { createChainCheck, readErasures, readRows } from './stored.ts';
import { checkTree, readSigner } from './tree.ts';

export type { Acknowledged } from './acknowledged.ts';
export { type Report, reportText } from './findings.ts';

export interface CheckLogOptions {
  /** ClickHouse's address with a user that may read all tables. */
  clickhouse: string;
  /** NATS' address; without it, CHAINED is not looked at. */
  nats?: string | undefined;
  /** Every event that got a 202, by its id. */
  acknowledged?: AcknowledgedById | Iterable<Acknowledged & { id: string }>;
  /** How long the pipeline may stand still before what is missing counts as lost. */
  settleMs?: number;
}

const SETTLE_MS = 30_000;

/**
 * The one checker of everything: what was promised is kept, and what is kept is whole. It recomputes the
 * chains with core/, row by row, then asks the SQL of `/verify` the same and expects the same answer.
 */
export async function checkLog(options: CheckLogOptions): Promise<Report> {
  const clickhouse = connectClickHouse(options.clickhouse);
  try {
    return await checkWith(clickhouse, options);
  } finally {
    await clickhouse.close();
  }
}

async function checkWith(clickhouse: ClickHouseClient, options: CheckLogOptions): Promise<Report> {
  const acknowledged = byId(options.acknowledged ?? []);
  const settleMs = options.settleMs ?? SETTLE_MS;
  const findings = createFindings();
  const kept = findings.begin('every acknowledged event is stored, once');
  const requestOrder = findings.begin('the events of a request keep their order');
  const chain = {
    order: findings.begin('seq counts 1, 2, 3 … and created_at rises'),
    hashes: findings.begin('every hash recomputes and links to the one before'),
    texts: findings.begin('every text is canonical and fits its digest'),
    keys: findings.begin('the id of a keyed event is made from its key'),
    positions: findings.begin('places in the stream rise with seq'),
  };

  await untilStored(clickhouse, acknowledged, settleMs);
  const promises = createPromiseCheck(acknowledged, kept, requestOrder);
  const hashes = new Map<string, string[]>();
  for (const workspaceId of await readWorkspaces(clickhouse)) {
    const checkRow = createChainCheck(workspaceId, await readErasures(clickhouse, workspaceId), chain);
    const held: string[] = [];
    for await (const row of readRows(clickhouse, workspaceId)) {
      checkRow(row);
      promises.saw(workspaceId, row);
      held[row.seq - 1] = row.event_hash_hex;
    }
    hashes.set(workspaceId, held);
  }
  promises.end();

  await checkUnique(clickhouse, 'id', 'workspace_id, id', findings.begin('no id is stored twice'));
  await checkUnique(
    clickhouse,
    'place in the stream',
    'partition, stream_epoch, stream_seq, stream_index',
    findings.begin('no place in the stream is stored twice'),
  );
  await checkQuarantine(clickhouse, findings.begin('nothing is in quarantine'));
  await checkSql(clickhouse, hashes, findings.begin('the SQL of /verify agrees'));
  if (options.nats !== undefined) {
    const nc = await connectNats({ url: options.nats, name: 'check-log', log: pino({ level: 'silent' }) });
    await checkChained(nc, hashes, findings.begin('CHAINED holds every event in order'), settleMs);
    const signer = await readSigner(nc);
    if (signer !== undefined) {
      const tree = {
        reached: findings.begin('every event is in a signed checkpoint'),
        checkpoints: findings.begin('every checkpoint is signed, and of the tree its events make'),
        tiles: findings.begin('every tile is what its events make'),
      };
      await checkTree(clickhouse, signer, hashes, tree, settleMs);
      await checkAnchors(clickhouse, nc, signer, hashes, {
        rows: findings.begin(
          'every anchor is signed, of the tree its events make, and follows the one before',
        ),
        trees: findings.begin('every anchor tree is made of its checkpoints'),
        records: findings.begin('what is read of anchors is what is on record'),
      });
    }
    await nc.close();
  }
  return findings.report();
}

function byId(acknowledged: NonNullable<CheckLogOptions['acknowledged']>): AcknowledgedById {
  return acknowledged instanceof Map
    ? acknowledged
    : new Map([...acknowledged].map((event) => ('id' in event ? [event.id, event] : event)));
}

async function readWorkspaces(clickhouse: ClickHouseClient): Promise<string[]> {
  const result = await clickhouse.query({
    query: `SELECT DISTINCT workspace_id FROM ${TABLES.events} ORDER BY workspace_id`,
    format: 'JSONEachRow',
  });
  return (await result.json<{ workspace_id: string }>()).map(({ workspace_id }) => workspace_id);
}

async function checkUnique(
  clickhouse: ClickHouseClient,
  what: string,
  columns: string,
  finding: Finding,
): Promise<void> {
  const result = await clickhouse.query({
    query: `SELECT ${columns}, count() AS rows FROM ${TABLES.events} GROUP BY ${columns} HAVING rows > 1 LIMIT 100`,
    format: 'JSONEachRow',
  });
  finding.look();
  for (const row of await result.json())
    finding.wrong(`more than one row has the ${what} ${JSON.stringify(row)}`);
}

async function checkQuarantine(clickhouse: ClickHouseClient, finding: Finding): Promise<void> {
  const result = await clickhouse.query({
    query: `SELECT partition, stream_seq, stream_index, reason FROM ${TABLES.quarantine} LIMIT 100`,
    format: 'JSONEachRow',
  });
  finding.look();
  for (const row of await result.json()) finding.wrong(JSON.stringify(row));
}

async function checkSql(
  clickhouse: ClickHouseClient,
  hashes: ReadonlyMap<string, readonly string[]>,
  finding: Finding,
): Promise<void> {
  for (const [workspaceId, held] of hashes) {
    const { events_checked, breaks, complete } = await verifyChain(clickhouse, { workspaceId });
    finding.look(events_checked);
    for (const found of breaks) finding.wrong(`${workspaceId}: ${JSON.stringify(found)}`);
    if (!complete || events_checked < held.length) {
      finding.wrong(`${workspaceId}: it checked ${events_checked} events of ${held.length}`);
    }
  }
}
