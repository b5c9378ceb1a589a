import { jetstream } from '@nats-io/jetstream';
import { decodeChained } from '../../core/message.ts';
import { crc32 } from '../../infra/hash.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import { STREAM_CHAINED } from '../../infra/nats/names.ts';
import type { Finding } from './findings.ts';

/** The hashes of each workspace's stored events, that of seq 1 first. */
export type StoredHashes = ReadonlyMap<string, readonly string[]>;

const WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * Reads CHAINED from its beginning: every stored event is in it at least once, first in the order of its
 * chain, with the hash that is stored. What the stream dropped for its age is not missed. Ends when all is
 * seen, or nothing has come for `settleMs`.
 */
export async function checkChained(
  nc: NatsConnection,
  stored: StoredHashes,
  finding: Finding,
  settleMs: number,
): Promise<void> {
  const reached = new Map<string, number>();
  const behind = new Set(stored.keys());
  if (behind.size === 0) return;

  const consumer = await jetstream(nc).consumers.get(STREAM_CHAINED);
  // By bytes: a server cuts off a reader for whom more than 64 MiB wait.
  const messages = await consumer.consume({ max_bytes: WINDOW_BYTES });
  let patience = setTimeout(() => messages.stop(), settleMs);
  for await (const message of messages) {
    clearTimeout(patience);
    patience = setTimeout(() => messages.stop(), settleMs);
    const { workspaceId, events } = decodeChained(message.data, crc32);
    for (const { seq, eventHash } of events) take(workspaceId, seq, eventHash);
    if (behind.size === 0) break;
  }
  clearTimeout(patience);
  messages.stop();
  for (const workspaceId of behind) {
    const end = `${reached.get(workspaceId) ?? 0} of ${stored.get(workspaceId)?.length ?? 0}`;
    finding.wrong(`${workspaceId}: CHAINED ends at seq ${end}`);
  }

  function take(workspaceId: string, seq: number, hash: string): void {
    finding.look();
    const hashes = stored.get(workspaceId) ?? [];
    const expected = hashes[seq - 1];
    const last = reached.get(workspaceId) ?? seq - 1;
    if (expected === undefined) finding.wrong(`${workspaceId}: CHAINED has seq ${seq}, which is not stored`);
    else if (expected !== hash) finding.wrong(`${workspaceId}: CHAINED has another hash for seq ${seq}`);
    if (seq > last + 1) finding.wrong(`${workspaceId}: CHAINED goes from seq ${last} to ${seq}`);
    reached.set(workspaceId, Math.max(last, seq));
    if (seq >= hashes.length) behind.delete(workspaceId);
  }
}
