import { hash } from 'node:crypto';

/**
 * The partition whose subject a workspace's events travel on, 0 … `partitions` − 1. Stable for ever:
 * the number of partitions is fixed at install, and moving a workspace would break the order of its chain.
 */
export function partitionOf(workspaceId: string, partitions: number): number {
  return hash('sha256', workspaceId, 'buffer').readUInt32BE(0) % partitions;
}
