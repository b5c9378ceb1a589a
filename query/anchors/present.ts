import type { AnchorFindings } from './check.ts';
import type { AnchorRow } from './sql.ts';

interface Chain {
  name: string;
  title: string;
  explorer: string | null;
  rpc: string | null;
  /** Whoever runs it may begin it anew: what is written there proves nothing. */
  isRehearsal?: true;
}

/** What the API calls a chain, and where people look at its transactions, by EIP-155 id. */
const CHAINS: Readonly<Record<number, Chain>> = {
  8453: {
    name: 'base',
    title: 'Base',
    explorer: 'https://basescan.org',
    rpc: 'https://mainnet.base.org',
  },
  84532: {
    name: 'base-sepolia',
    title: 'Base Sepolia, a test chain',
    explorer: 'https://sepolia.basescan.org',
    rpc: 'https://sepolia.base.org',
    isRehearsal: true,
  },
  // Of `immutable up --local-chain`.
  31337: {
    name: 'local',
    title: 'a chain of one machine',
    explorer: null,
    rpc: null,
    isRehearsal: true,
  },
};

/** CAIP-2 for chains without a name of their own; null where none was set. */
export function chainName(chainId: number): string | null {
  return chainId === 0 ? null : (CHAINS[chainId]?.name ?? `eip155:${chainId}`);
}

/** For people. */
export function chainTitle(chainId: number): string {
  return CHAINS[chainId]?.title ?? `chain ${chainId}`;
}

export function isRehearsal(chainId: number): boolean {
  return CHAINS[chainId]?.isRehearsal ?? false;
}

/** A public endpoint of the chain, if one is known. */
export function publicRpc(chainId: number): string | null {
  return CHAINS[chainId]?.rpc ?? null;
}

export function explorerUrl(chainId: number, txHash: string): string | null {
  const explorer = CHAINS[chainId]?.explorer ?? null;
  return explorer === null || txHash === '' ? null : `${explorer}/tx/${txHash}`;
}

/** What all workspaces of one anchor tree share. */
export function presentTree({
  anchor_root,
  period_end,
  batch,
}: Pick<AnchorRow, 'anchor_root' | 'period_end' | 'batch'>) {
  return {
    anchor_root,
    period_end,
    chain: chainName(batch.chain_id),
    chain_id: batch.chain_id === 0 ? null : batch.chain_id,
    contract: batch.contract === '' ? null : batch.contract,
    status: batch.status,
    reason: batch.reason === '' ? null : batch.reason,
    tx_hash: batch.tx_hash === '' ? null : batch.tx_hash,
    block_number: batch.block_hash === '' ? null : batch.block_number,
    block_hash: batch.block_hash === '' ? null : batch.block_hash,
    block_time: batch.block_hash === '' ? null : batch.block_time,
    explorer_url: explorerUrl(batch.chain_id, batch.tx_hash),
  };
}

/** An anchor as the API gives it (api.md). */
export function presentAnchor(row: AnchorRow) {
  return {
    id: row.id,
    merkle_root: row.merkle_root,
    previous_anchor_hash: row.previous_anchor_hash === '' ? null : row.previous_anchor_hash,
    size: row.size,
    events_count: row.events_count,
    period_start: row.period_start,
    ...presentTree(row),
    created_at: row.created_at,
  };
}

/** The same with all that one needs to check it. */
export function presentAnchorInFull(row: AnchorRow) {
  return {
    ...presentAnchor(row),
    first_event_hash: row.first_event_hash === '' ? null : row.first_event_hash,
    last_event_hash: row.last_event_hash,
    checkpoint: row.checkpoint,
    inclusion: { leaf_index: row.leaf_index, tree_size: row.tree_size, path: row.path },
  };
}

export function presentVerification(row: AnchorRow, { checks, recomputedRoot }: AnchorFindings) {
  const { tx_hash, explorer_url, status } = presentTree(row);
  const isSound = (name: string) => checks.some((check) => check.name === name && check.outcome === 'passed');
  return {
    anchor_id: row.id,
    merkle_root: row.merkle_root,
    valid: checks.every(({ outcome }) => outcome !== 'failed'),
    chain_valid: isSound('chain'),
    expected: recomputedRoot,
    actual: row.merkle_root,
    events_count: row.events_count,
    status,
    tx_hash,
    explorer_url,
    checks: checks.map(({ name, outcome, problems }) => ({
      name,
      outcome,
      detail: problems.length === 0 ? null : problems.join('; '),
    })),
  };
}

/** The `anchor` member of an evidence file (docs/integrity.md); the row is of a confirmed anchor. */
export function presentEvidenceAnchor({ anchor_root, leaf_index, tree_size, path, batch }: AnchorRow) {
  return {
    anchor_root,
    leaf_index,
    tree_size,
    path,
    chain_id: batch.chain_id,
    contract: batch.contract,
    tx_hash: batch.tx_hash,
    block_number: batch.block_number,
  };
}
