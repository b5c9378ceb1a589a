/**
 * Where roots are made public. What the job asks of it, and no more, so that another kind of ledger can take the place
 * of Base: `test/contract/ledger.test.ts` is what each must pass. A root is 64 hexadecimal digits, lower case.
 *
 * It knows no limit of fees: who decides between waiting and paying (step.ts) holds what it offers below the cap.
 */
export interface Ledger {
  readonly place: LedgerPlace;
  /** What there is to know before the next step. Throws `unavailable` when no endpoint answers in time. */
  observe(root: string, attempts: readonly Attempt[]): Promise<Observation>;
  /**
   * A transaction that would anchor the root, signed and not sent. Throws `validation_failed` where the ledger would
   * refuse it, and says why.
   */
  sign(root: string, order: { nonce: number; fees: Fees }): Promise<Attempt>;
  /** Sends the very bytes of an attempt; to send them again does no harm. */
  send(attempt: Attempt): Promise<Sent>;
}

/** Part of every proof: which chain, and which contract on it. */
export interface LedgerPlace {
  /** EIP-155. */
  chainId: number;
  /** 0x and 40 hexadecimal digits, lower case. */
  contract: string;
}

/** Wei for one unit of gas (EIP-1559). */
export interface Fees {
  maxFeePerGas: bigint;
  maxPriorityFeePerGas: bigint;
}

/** A signed transaction, kept before it is sent. */
export interface Attempt {
  /** 0x and 64 hexadecimal digits: known before it is sent. */
  txHash: string;
  /** 0x and hexadecimal: what `eth_sendRawTransaction` takes. */
  raw: string;
  nonce: number;
  fees: Fees;
  /** Milliseconds since the epoch. */
  signedAtMs: number;
}

export type Sent =
  | { kind: 'accepted' }
  /** Its nonce is used: by another transaction, or by this one, which is in a block already. */
  | { kind: 'nonce_used' }
  /** The sender cannot pay for it. */
  | { kind: 'too_poor' }
  /** It offers too little: not enough more than the one it would replace (10 %), or less than a node takes at all. */
  | { kind: 'underpriced' }
  | { kind: 'refused'; reason: string };

/** A root in a block. */
export interface Inclusion {
  txHash: string;
  blockNumber: number;
  blockHash: string;
  /** As the block says, milliseconds since the epoch. */
  blockTimeMs: number;
  /** Blocks from it to the newest, itself included. */
  confirmations: number;
  /** The chain calls the block safe (or what the operator chose to wait for). */
  isConfirmed: boolean;
}

export interface Observation {
  /** Where the root stands on the chain now, by whichever transaction; null if it does not. */
  inclusion: Inclusion | null;
  /** An attempt is in a block, and failed there; null where the root stands on the chain all the same. */
  reverted: { txHash: string; blockNumber: number } | null;
  /** The nonce after the sender's last transaction that is in a block. */
  nextNonce: number;
  /** Whether some endpoint knows the newest attempt as one that waits for a block. */
  isPending: boolean;
  /** What a transaction should offer now. */
  fees: Fees;
  /** No less than the gas that anchoring one root takes: what the balance is compared with. */
  gas: bigint;
  balanceWei: bigint;
}
