import { setTimeout as delay } from 'node:timers/promises';
import type { LastSigned } from '../../control/checkpoints.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../../infra/log.ts';
import type { Growth, Harvest } from './growing-tree.ts';
import type { Signer } from './signer.ts';
import type { SignedCheckpoint, TreeStore, WorkspaceTile } from './store.ts';

export interface CommitContext {
  store: Pick<TreeStore, 'writeTiles' | 'writeCheckpoints'>;
  signer: Signer;
  /** The newest checkpoint of each workspace; kept current here. */
  lastSigned: Map<string, LastSigned>;
  log: Logger;
  timing: { firstRetryMs: number; longestRetryMs: number };
}

/** Signing is a write to NATS for each workspace. */
const SIGNING_AT_A_TIME = 32;
const TILES_PER_INSERT = 4_096;

/**
 * Signs what trees have grown by. The tiles come first, so that whatever a checkpoint promises can be proven; **what
 * the signer stores is the commit point**; the table of all checkpoints follows, before the signer stores another in the
 * same place. Dying before the commit point leaves tiles that the next start writes again, dying behind it a checkpoint
 * that the next start keeps (`openKnownCheckpoints`).
 * ClickHouse and NATS are waited for until the signal aborts. Throws `fenced` when another process signs.
 */
export async function commit(
  context: CommitContext,
  harvests: ReadonlyMap<string, Harvest>,
  signal: AbortSignal,
): Promise<SignedCheckpoint[]> {
  const { store } = context;
  for (const tiles of tileBatches(harvests)) await untilDone(context, signal, () => store.writeTiles(tiles));
  const all: SignedCheckpoint[] = [];
  for (const growths of growthRounds(harvests)) {
    const signed = await signAll(context, growths, signal);
    await untilDone(context, signal, () => store.writeCheckpoints(signed));
    all.push(...signed);
  }
  return all;
}

function tileBatches(harvests: ReadonlyMap<string, Harvest>): WorkspaceTile[][] {
  const tiles = [...harvests].flatMap(([workspaceId, harvest]) =>
    harvest.tiles.map((tile) => ({ ...tile, workspaceId })),
  );
  const batches: WorkspaceTile[][] = [];
  for (let from = 0; from < tiles.length; from += TILES_PER_INSERT) {
    batches.push(tiles.slice(from, from + TILES_PER_INSERT));
  }
  return batches;
}

type WorkspaceGrowth = [workspaceId: string, growth: Growth];

/** The first growth of every workspace, then the second of those that have one: mostly there is one alone. */
function growthRounds(harvests: ReadonlyMap<string, Harvest>): WorkspaceGrowth[][] {
  const rounds: WorkspaceGrowth[][] = [];
  for (const [workspaceId, { growths }] of harvests) {
    for (const [round, growth] of growths.entries()) {
      rounds[round] ??= [];
      rounds[round].push([workspaceId, growth]);
    }
  }
  return rounds;
}

/** After a failure nothing more is begun, and what is under way has ended: the next start finds all of it. */
async function signAll(
  context: CommitContext,
  growths: readonly WorkspaceGrowth[],
  signal: AbortSignal,
): Promise<SignedCheckpoint[]> {
  const signed: SignedCheckpoint[] = [];
  const waiting = [...growths];
  async function signNext(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [workspaceId, growth] = next;
      await untilDone(context, signal, async () => {
        const last = await context.signer.sign(workspaceId, context.lastSigned.get(workspaceId), growth);
        context.lastSigned.set(workspaceId, last);
        signed.push(asSigned(workspaceId, last));
      });
    }
  }
  const outcomes = await Promise.allSettled(
    Array.from({ length: SIGNING_AT_A_TIME }, () =>
      signNext().catch((error: unknown) => {
        waiting.length = 0;
        throw error;
      }),
    ),
  );
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return signed;
}

/** A checkpoint as it is kept before any witness has seen it. */
export function asSigned(workspaceId: string, { record }: LastSigned): SignedCheckpoint {
  const { size, root, note, signed_at } = record;
  return { workspaceId, size, root, note, cosignatures: 0, isWitnessed: false, signedAt: signed_at };
}

/** What others are not to blame for is not tried again. */
async function untilDone(
  { log, timing }: CommitContext,
  signal: AbortSignal,
  action: () => Promise<void>,
): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    signal.throwIfAborted();
    try {
      return await action();
    } catch (error) {
      if (error instanceof ImmutableError && error.disposition === 'stop') throw error;
      log.warn({ err: error }, 'signing is tried again');
      const retryMs = Math.min(timing.firstRetryMs * 2 ** Math.min(failures, 10), timing.longestRetryMs);
      await delay(retryMs, undefined, { signal }).catch(() => {});
    }
  }
}
