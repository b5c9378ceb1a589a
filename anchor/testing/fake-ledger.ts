import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ImmutableError } from '../../core/errors.ts';
import type { Attempt, Fees, Inclusion, Ledger, Observation, Sent } from '../ledger.ts';

/**
 * A ledger in memory, for tests that let the job die at every step. It passes the suite that the real one passes
 * (`test/contract/ledger.test.ts`), and does what tests tell it to. It is the chain as well: it outlives the job.
 */
export interface FakeLedger extends Ledger {
  /** Every call fails while it is true. */
  isDown: boolean;
  /** The next call fails: before it has had its effect, or after it. May be said several times. */
  failNext(call: Call, when: 'before' | 'after'): void;
  /** The number of the newest block. */
  readonly height: number;
  /** Puts what waits into the first of so many blocks. */
  mine(blocks?: number): void;
  /** Takes the newest blocks away. What was in them waits again, or is known to nobody any more. */
  reorganise(depth: number, transactions: 'wait' | 'vanish'): void;
  /** Nobody knows the waiting transaction any more. */
  drop(txHash: string): void;
  /** Somebody else anchors the root, in a block of its own. */
  anchorByOther(root: string): void;
  /** Whether the contract takes roots from the sender. */
  isAllowed: boolean;
  balanceWei: bigint;
  baseFeeWei: bigint;
  /** All that was ever sent and taken, oldest first, and where it stands now. */
  transactions(): FakeTransaction[];
}

export type Call = 'observe' | 'sign' | 'send';

export interface FakeTransaction {
  txHash: string;
  root: string;
  nonce: number;
  /** Null while it is in no block. */
  blockNumber: number | null;
  /** In a block, and reverted there: paid for, and for nothing. */
  hasFailed: boolean;
}

interface Transaction {
  txHash: string;
  root: string;
  /** Null if it is somebody else's. */
  nonce: number | null;
  fees: Fees;
}

interface Block {
  number: number;
  hash: string;
  timeMs: number;
  included: { transaction: Transaction; hasFailed: boolean; costWei: bigint }[];
}

const GAS = 50_000n;
const TIP_WEI = 1_000_000n;
/** What nodes ask of a transaction that is to replace another one, in percent of either fee. */
const REPLACEMENT_PERCENT = 110n;

const rawSchema = z.object({
  root: z.string(),
  nonce: z.int(),
  maxFeePerGas: z.string().transform(BigInt),
  maxPriorityFeePerGas: z.string().transform(BigInt),
});

export function fakeLedger(options: { now?: () => number; safeLagBlocks?: number } = {}): FakeLedger {
  const { now = Date.now, safeLagBlocks = 1 } = options;
  let branch = 0;
  const blocks: Block[] = [{ number: 0, hash: digest('genesis'), timeMs: now(), included: [] }];
  const everSent = new Map<string, Transaction>();
  let waiting: Transaction[] = [];
  const faults: { call: Call; when: 'before' | 'after' }[] = [];

  const ledger: FakeLedger = {
    place: { chainId: 31_337, contract: `0x${'c0'.repeat(20)}` },
    isDown: false,
    isAllowed: true,
    balanceWei: 10n ** 18n,
    baseFeeWei: 10_000_000n,

    get height() {
      return blocks.length - 1;
    },

    observe: (root, attempts) => call('observe', () => observation(root, attempts)),
    sign: (root, order) => call('sign', () => signed(root, order)),
    send: (attempt) => call('send', () => taken(attempt)),

    failNext: (which, when) => {
      faults.push({ call: which, when });
    },
    mine(count = 1) {
      for (let left = count; left > 0; left -= 1) blocks.push(newBlock(takeRipe()));
    },
    reorganise(depth, transactions) {
      branch += 1;
      for (const { included } of blocks.splice(Math.max(1, blocks.length - depth))) {
        for (const { transaction, costWei } of included) {
          ledger.balanceWei += costWei;
          if (transactions === 'wait') waiting.push(transaction);
        }
      }
    },
    drop(txHash) {
      waiting = waiting.filter((transaction) => transaction.txHash !== txHash);
    },
    anchorByOther(root) {
      const fees = { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n };
      const txHash = digest(`other ${branch} ${blocks.length} ${root}`);
      blocks.push(newBlock([{ txHash, root, nonce: null, fees }]));
    },
    transactions: () =>
      [...everSent.values()].map(({ txHash, root, nonce }) => {
        const at = find(txHash);
        return {
          txHash,
          root,
          nonce: nonce ?? 0,
          blockNumber: at?.block.number ?? null,
          hasFailed: at?.hasFailed ?? false,
        };
      }),
  };
  return ledger;

  async function call<T>(which: Call, effect: () => T): Promise<T> {
    await Promise.resolve();
    if (ledger.isDown) throw away();
    const at = faults.findIndex((fault) => fault.call === which);
    const [fault] = at < 0 ? [] : faults.splice(at, 1);
    if (fault?.when === 'before') throw away();
    const result = effect();
    if (fault?.when === 'after') throw away();
    return result;
  }

  function observation(root: string, attempts: readonly Attempt[]): Observation {
    const inclusion = inclusionOf(root);
    const newest = attempts.at(-1)?.txHash;
    return {
      inclusion,
      reverted: inclusion === null ? revertedOf(attempts) : null,
      nextNonce: nextNonce(),
      isPending: waiting.some(({ txHash }) => txHash === newest),
      fees: { maxFeePerGas: ledger.baseFeeWei * 2n + TIP_WEI, maxPriorityFeePerGas: TIP_WEI },
      gas: GAS,
      balanceWei: ledger.balanceWei,
    };
  }

  function inclusionOf(root: string): Inclusion | null {
    const block = blocks.find(({ included }) =>
      included.some(({ transaction, hasFailed }) => transaction.root === root && !hasFailed),
    );
    const at = block?.included.find(({ transaction, hasFailed }) => transaction.root === root && !hasFailed);
    if (block === undefined || at === undefined) return null;
    const confirmations = blocks.length - block.number;
    return {
      txHash: at.transaction.txHash,
      blockNumber: block.number,
      blockHash: block.hash,
      blockTimeMs: block.timeMs,
      confirmations,
      isConfirmed: confirmations > safeLagBlocks,
    };
  }

  function revertedOf(attempts: readonly Attempt[]): Observation['reverted'] {
    for (const { txHash } of attempts.toReversed()) {
      const at = find(txHash);
      if (at?.hasFailed) return { txHash, blockNumber: at.block.number };
    }
    return null;
  }

  function signed(root: string, { nonce, fees }: { nonce: number; fees: Fees }): Attempt {
    if (!ledger.isAllowed) throw refused('NotAllowed');
    if (inclusionOf(root) !== null) throw refused('AlreadyAnchored');
    const { maxFeePerGas, maxPriorityFeePerGas } = fees;
    const text = JSON.stringify({
      root,
      nonce,
      maxFeePerGas: String(maxFeePerGas),
      maxPriorityFeePerGas: String(maxPriorityFeePerGas),
    });
    const raw = `0x${Buffer.from(text).toString('hex')}`;
    return { txHash: digest(raw), raw, nonce, fees, signedAtMs: now() };
  }

  /** Goes by the bytes alone, as a node does. */
  function taken({ raw }: Attempt): Sent {
    const text = Buffer.from(raw.slice(2), 'hex').toString();
    const { root, nonce, ...fees } = rawSchema.parse(JSON.parse(text));
    const transaction = { txHash: digest(raw), root, nonce, fees };
    if (waiting.some(({ txHash }) => txHash === transaction.txHash)) return { kind: 'accepted' };
    if (nonce < nextNonce()) return { kind: 'nonce_used' };
    if (fees.maxFeePerGas * GAS > ledger.balanceWei) return { kind: 'too_poor' };
    const replaced = waiting.find((other) => other.nonce === nonce);
    if (replaced !== undefined && !paysMore(fees, replaced.fees)) return { kind: 'underpriced' };
    waiting = [...waiting.filter((other) => other !== replaced), transaction];
    everSent.set(transaction.txHash, transaction);
    return { kind: 'accepted' };
  }

  function paysMore(fees: Fees, than: Fees): boolean {
    return (['maxFeePerGas', 'maxPriorityFeePerGas'] as const).every(
      (name) => fees[name] * 100n >= than[name] * REPLACEMENT_PERCENT,
    );
  }

  function nextNonce(): number {
    const used = blocks.flatMap(({ included }) => included.map(({ transaction }) => transaction.nonce ?? -1));
    return Math.max(-1, ...used) + 1;
  }

  /** In the order of nonces, up to the first that is missing or offers too little. */
  function takeRipe(): Transaction[] {
    const ripe = waiting.filter(({ nonce }) => nonce === null);
    for (let nonce = nextNonce(); ; nonce += 1) {
      const next = waiting.find((transaction) => transaction.nonce === nonce);
      if (next === undefined || next.fees.maxFeePerGas < ledger.baseFeeWei) break;
      ripe.push(next);
    }
    waiting = waiting.filter((transaction) => !ripe.includes(transaction));
    return ripe;
  }

  function newBlock(transactions: Transaction[]): Block {
    const number = blocks.length;
    const block: Block = { number, hash: digest(`block ${branch} ${number}`), timeMs: now(), included: [] };
    for (const transaction of transactions) {
      const isMine = transaction.nonce !== null;
      const isKnown = [...blocks, block].some(({ included }) =>
        included.some((one) => one.transaction.root === transaction.root && !one.hasFailed),
      );
      const costWei = isMine ? GAS * (ledger.baseFeeWei + TIP_WEI) : 0n;
      ledger.balanceWei -= costWei;
      block.included.push({ transaction, hasFailed: isKnown || (isMine && !ledger.isAllowed), costWei });
    }
    return block;
  }

  function find(txHash: string): { block: Block; hasFailed: boolean } | undefined {
    for (const block of blocks) {
      const at = block.included.find(({ transaction }) => transaction.txHash === txHash);
      if (at !== undefined) return { block, hasFailed: at.hasFailed };
    }
    return undefined;
  }
}

function digest(text: string): string {
  return `0x${createHash('sha256').update(text).digest('hex')}`;
}

function away(): ImmutableError {
  return new ImmutableError('unavailable', 'The ledger does not answer.');
}

function refused(why: string): ImmutableError {
  return new ImmutableError('validation_failed', `The contract would refuse the root: ${why}.`);
}
