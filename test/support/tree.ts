import { randomBytes } from 'node:crypto';
import { checkpointText, type SigningKey, signNote } from '../../core/checkpoint.ts';
import { leafHash } from '../../core/tree.ts';
import { createTreeBuilder } from '../../core/tree-builder.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { clickHouseTreeStore } from '../../pipeline/tree/clickhouse-store.ts';
import type { SeededEvent } from './seed.ts';

export const LOG_ORIGIN = 'log.test';

/** The log of one workspace in a test, with a key of its own. */
export interface TestLog {
  workspaceId: string;
  name: string;
  key: SigningKey;
}

export function testLog(workspaceId: string, seed: Uint8Array = randomBytes(32)): TestLog {
  const name = `${LOG_ORIGIN}/${workspaceId}`;
  return { workspaceId, name, key: { name, seed: new Uint8Array(seed) } };
}

/** The note of the first `size` events. */
export function checkpointNote(log: TestLog, events: readonly SeededEvent[], size: number): string {
  const builder = createTreeBuilder(0, new Map(), nativeHasher);
  for (const { eventHash } of events.slice(0, size)) builder.append(leafOf(eventHash));
  return signNote(checkpointText(log.name, size, builder.root()), log.key, nativeHasher);
}

/** Stores the tree of events as the tree stage does, signed at each of `sizes`, which rise. */
export async function storeTree(
  client: ClickHouseClient,
  log: TestLog,
  events: readonly SeededEvent[],
  sizes: readonly number[] = [events.length],
): Promise<void> {
  const store = clickHouseTreeStore(client);
  const builder = createTreeBuilder(0, new Map(), nativeHasher);
  for (const size of sizes) {
    for (const { eventHash } of events.slice(builder.size, size)) builder.append(leafOf(eventHash));
    const tiles = [...builder.takeFullTiles(), ...builder.partialTiles()];
    await store.writeTiles(tiles.map((tile) => ({ ...tile, workspaceId: log.workspaceId })));
    const root = builder.root();
    await store.writeCheckpoints([
      {
        workspaceId: log.workspaceId,
        size,
        root: Buffer.from(root).toString('hex'),
        note: signNote(checkpointText(log.name, size, root), log.key, nativeHasher),
        cosignatures: 0,
        isWitnessed: false,
        signedAt: events[size - 1]?.createdAt ?? '',
      },
    ]);
  }
}

function leafOf(eventHash: string): Uint8Array {
  return leafHash(Buffer.from(eventHash, 'hex'), nativeHasher);
}
