import { formatTimestamp } from '../core/time.ts';
import type { Bucket } from '../infra/nats/kv.ts';

/**
 * Alarms stand in a KV bucket until what they tell of is mended, so that every process sees them.
 * While `partition.<n>` is there nothing of that partition is chained, and edges refuse its events.
 */
export const ALARM_KEYS = {
  partitionStopped: (partition: number) => `partition.${partition}`,
  quarantined: (partition: number) => `quarantine.${partition}`,
  messagesLost: 'events.lost',
  /** The tree stage cannot work on a partition. */
  treeStopped: (partition: number) => `tree.${partition}`,
  /** What is stored of a workspace is not what was signed. */
  treeMismatch: (workspaceId: string) => `tree.${workspaceId}`,
  /** The alert rules cannot look at a partition. */
  alertsStopped: (partition: number) => `alerts.${partition}`,
  /** A witness knows another log of a workspace than the one we have. */
  witnessFork: (workspaceId: string) => `witness.${workspaceId}`,
  /** The contract refuses an anchor. */
  anchorFailed: 'anchor.failed',
  /** An anchor is not on the chain hours after its period. */
  anchorLate: 'anchor.late',
  /** The account that pays for anchors is nearly empty. */
  anchorBalance: 'anchor.balance',
  /** Workspaces are missing in the newest anchor. */
  anchorIncomplete: 'anchor.incomplete',
  /** The anchor job found something that it must not repair by itself. */
  anchorStopped: 'anchor.stopped',
} as const;

export interface Alarm {
  /** One sentence. */
  message: string;
  /** What the operator should do. */
  next_step: string;
  details: Record<string, unknown>;
  /** RFC 3339. */
  raised_at: string;
}

export async function raiseAlarm(
  bucket: Bucket,
  key: string,
  alarm: Omit<Alarm, 'raised_at'>,
  nowMs: number = Date.now(),
): Promise<void> {
  const record: Alarm = { ...alarm, raised_at: formatTimestamp(nowMs * 1000) };
  await bucket.put(key, record);
}

export async function clearAlarm(bucket: Bucket, key: string): Promise<void> {
  if ((await bucket.get(key)) !== undefined) await bucket.delete(key);
}
