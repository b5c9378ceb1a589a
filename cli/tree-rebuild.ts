import { readLastSigned } from '../control/checkpoints.ts';
import { ImmutableError } from '../core/errors.ts';
import { connectClickHouse } from '../infra/clickhouse/client.ts';
import type { Config } from '../infra/config.ts';
import { nativeHasher } from '../infra/hash.ts';
import { createLogger } from '../infra/log.ts';
import { connectNats } from '../infra/nats/connect.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { clickHouseTreeStore } from '../pipeline/tree/clickhouse-store.ts';
import { TreeMismatch } from '../pipeline/tree/load.ts';
import { type Rebuilt, rebuildTree } from '../pipeline/tree/rebuild.ts';
import { natsUrlFor } from './manage.ts';
import { runningClickHouseUrl } from './running-clickhouse.ts';
import type { Terminal } from './terminal.ts';

interface Outcome extends Partial<Rebuilt> {
  workspaceId: string;
  /** Why it cannot be made again. */
  mismatch?: string;
}

/** Makes trees again from the events, compares their tiles with the stored ones, and writes those that differ. */
export async function treeRebuildCommand(
  config: Config,
  terminal: Terminal,
  { workspace, check, json }: { workspace: string | undefined; check: boolean; json: boolean },
): Promise<void> {
  const nc = await connectNats({
    url: natsUrlFor(config),
    name: 'immutable tree rebuild',
    log: createLogger('tree', 'silent'),
  });
  const clickhouse = connectClickHouse(writerUrl(config));
  try {
    const bucket = await openBucket(nc, BUCKETS.checkpoints);
    const signed = await readLastSigned(bucket, (id) => workspace === undefined || id === workspace);
    if (workspace !== undefined && signed.size === 0) {
      throw new ImmutableError('not_found', `No checkpoint was signed of ${workspace}.`);
    }
    const store = clickHouseTreeStore(clickhouse);
    const outcomes: Outcome[] = [];
    for (const [workspaceId, { record }] of signed) {
      const { size, root } = record;
      const rebuild = () =>
        rebuildTree(store, workspaceId, { size, root, write: !check }, nativeHasher).catch(asMismatch);
      outcomes.push({ workspaceId, ...(await terminal.step(`${workspaceId}, ${size} events`, rebuild)) });
    }
    terminal.result(
      json ? JSON.stringify(outcomes.map(asJson)) : outcomes.map((one) => describe(one, check)).join('\n'),
    );
    const failed = outcomes.filter(
      ({ mismatch, wrongCount = 0 }) => mismatch !== undefined || (check && wrongCount > 0),
    );
    if (failed.length > 0) {
      throw new ImmutableError(
        'stream_mismatch',
        `${failed.length} of ${outcomes.length} trees are not as they should be.`,
      );
    }
  } finally {
    await clickhouse.close();
    await nc.close();
  }
}

function asMismatch(error: unknown): Pick<Outcome, 'mismatch'> {
  if (error instanceof TreeMismatch) return { mismatch: error.message };
  throw error;
}

function asJson({ workspaceId, mismatch, size, root, leavesFromTiles, tiles, wrong, wrongCount }: Outcome) {
  if (mismatch !== undefined) return { workspace_id: workspaceId, mismatch };
  return {
    workspace_id: workspaceId,
    size,
    root,
    leaves_from_tiles: leavesFromTiles,
    tiles,
    wrong_tiles: wrongCount,
    wrong,
  };
}

function describe(
  { workspaceId, mismatch, tiles = 0, wrong = [], wrongCount = 0, leavesFromTiles = 0 }: Outcome,
  check: boolean,
): string {
  if (mismatch !== undefined) return `${workspaceId}  ✗ ${mismatch}`;
  const archived =
    leavesFromTiles > 0 ? `; ${leavesFromTiles} leaves are of archived events and came from tiles` : '';
  if (wrongCount === 0) return `${workspaceId}  ✓ ${tiles} tiles are as they must be${archived}`;
  const names = `${wrong.slice(0, 5).join(', ')}${wrongCount > 5 ? ', …' : ''}`;
  return `${workspaceId}  ${check ? '✗' : '✓'} ${wrongCount} of ${tiles} tiles were missing or wrong (${names})${check ? '' : ', and are written again'}${archived}`;
}

/** Of a user that may insert. */
function writerUrl(config: Config): string {
  const url = config.clickhouseUrl ?? runningClickHouseUrl(config, 'writer');
  if (url !== undefined) return url;
  throw new ImmutableError('unavailable', `Immutable does not run on the data directory ${config.dataDir}.`, {
    nextStep: 'Start it with `npm start`, or set IMMUTABLE_CLICKHOUSE_URL to a user that may insert.',
  });
}
