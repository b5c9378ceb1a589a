import { hexEncode } from './bytes.ts';
import type { SignatureOutcome } from './trust.ts';

/**
 * Whether an anchored root stands on a chain, by what a node answers over JSON-RPC (EIP-1474). Pure: whoever calls
 * asks the questions of `onChainQuestions`, and gives the answers to `checkOnChain`.
 */

/** keccak-256 of `Anchored(bytes32,uint256)`: the first topic of the log. */
export const ANCHORED_TOPIC = '0xfde54488b5523b3abf19b99976dd0e2c531fbcd233d0eb682c96c3a18cf6b3c1';
/** The first four bytes of keccak-256 of `blockOf(bytes32)`. */
export const BLOCK_OF_SELECTOR = '0x7ee64074';

/** Where roots are anchored. From the caller, never from what is checked. */
export interface ChainPlace {
  /** EIP-155. */
  chainId: number;
  /** 0x and 40 hexadecimal digits. */
  contract: string;
}

/** What evidence says of the transaction. */
export interface AnchoredRoot {
  /** 32 bytes. */
  root: Uint8Array;
  txHash: string;
  blockNumber: number;
}

export interface RpcQuestion {
  method: string;
  params: readonly unknown[];
}

const NAMES = ['chainId', 'receipt', 'block', 'blockOf', 'newest', 'safe', 'finalized'] as const;
export type QuestionName = (typeof NAMES)[number];

export type OnChainQuestions = Readonly<Record<QuestionName, RpcQuestion>>;

/** The `result` of each; undefined where the node refused the question. Nothing in it is believed for its form. */
export type OnChainAnswers = Readonly<Partial<Record<QuestionName, unknown>>>;

export function onChainQuestions(anchor: AnchoredRoot, place: ChainPlace): OnChainQuestions {
  const call = { to: place.contract.toLowerCase(), data: `${BLOCK_OF_SELECTOR}${hexEncode(anchor.root)}` };
  const blockBy = (tag: string): RpcQuestion => ({ method: 'eth_getBlockByNumber', params: [tag, false] });
  return {
    chainId: { method: 'eth_chainId', params: [] },
    receipt: { method: 'eth_getTransactionReceipt', params: [anchor.txHash.toLowerCase()] },
    block: blockBy(quantity(anchor.blockNumber)),
    blockOf: { method: 'eth_call', params: [call, 'latest'] },
    newest: { method: 'eth_blockNumber', params: [] },
    safe: blockBy('safe'),
    finalized: blockBy('finalized'),
  };
}

/** `unknown_signer` where the node does not say: then nobody vouches for it. */
export function checkOnChain(
  anchor: AnchoredRoot,
  place: ChainPlace,
  answers: OnChainAnswers,
): SignatureOutcome {
  const questions = onChainQuestions(anchor, place);
  const refused = NAMES.filter((name) => answers[name] === undefined && !OPTIONAL.has(name));
  if (refused.length > 0) {
    return unknown(`the node does not answer ${refused.map((name) => questions[name].method).join(', ')}`);
  }
  const chainId = readQuantity(answers.chainId);
  if (chainId !== place.chainId)
    return failed(`the node is of chain ${chainId ?? '?'}, not ${place.chainId}`);
  const found = findLog(anchor, place, answers);
  if (typeof found === 'string') return failed(found);
  const block = readBlock(answers.block);
  if (block?.number !== anchor.blockNumber || block.hash !== found.blockHash) {
    return failed(`the chain has another block at number ${anchor.blockNumber}`);
  }
  if (found.timestamp !== block.timestamp) return failed('the log tells another time than its block');
  if (readWord(answers.blockOf) !== anchor.blockNumber) {
    return failed('the contract knows of another block for this root, or of none');
  }
  return { outcome: 'passed', detail: describe(block, answers) };
}

/** Nodes of some chains do not know these. */
const OPTIONAL: ReadonlySet<QuestionName> = new Set(['safe', 'finalized']);

interface FoundLog {
  blockHash: string;
  timestamp: number | null;
}

/** The log by which the contract made the root known, in the receipt of the transaction; or what is wrong. */
function findLog(anchor: AnchoredRoot, place: ChainPlace, { receipt }: OnChainAnswers): FoundLog | string {
  if (receipt === null) return `the chain has no transaction ${anchor.txHash.toLowerCase()}`;
  if (!isObject(receipt) || readHash(receipt.transactionHash) !== anchor.txHash.toLowerCase()) {
    return 'the receipt is of another transaction';
  }
  if (receipt.status !== '0x1') return 'the transaction failed';
  const number = readQuantity(receipt.blockNumber);
  const blockHash = readHash(receipt.blockHash);
  if (number !== anchor.blockNumber || blockHash === null) {
    return `the transaction is in block ${number ?? '?'}, not ${anchor.blockNumber}`;
  }
  const logs: readonly unknown[] = Array.isArray(receipt.logs) ? receipt.logs : [];
  const own = logs.filter(isObject).find((log) => isAnchored(log, anchor, place, blockHash));
  if (own === undefined) return 'the transaction has no log of the contract with this root';
  return { blockHash, timestamp: readWord(own.data) };
}

function isAnchored(
  log: Record<string, unknown>,
  anchor: AnchoredRoot,
  place: ChainPlace,
  blockHash: string,
): boolean {
  const topics: readonly unknown[] = Array.isArray(log.topics) ? log.topics : [];
  return (
    readAddress(log.address) === place.contract.toLowerCase() &&
    topics.length === 2 &&
    readHash(topics[0]) === ANCHORED_TOPIC &&
    readHash(topics[1]) === `0x${hexEncode(anchor.root)}` &&
    readHash(log.blockHash) === blockHash &&
    readHash(log.transactionHash) === anchor.txHash.toLowerCase() &&
    log.removed !== true
  );
}

/** Where the block stands, for people. */
function describe(block: Block, answers: OnChainAnswers): string {
  const newest = readQuantity(answers.newest);
  const confirmations = newest === null ? 0 : Math.max(0, newest - block.number + 1);
  const reaches = (answer: unknown) => (readBlock(answer)?.number ?? -1) >= block.number;
  const finality = reaches(answers.finalized)
    ? 'the chain calls it final'
    : reaches(answers.safe)
      ? 'the chain calls it safe'
      : answers.safe === undefined || answers.safe === null
        ? 'the node does not say whether it is safe'
        : 'not safe yet: it may still be taken back';
  const at = new Date(block.timestamp * 1000).toISOString().replace('.000Z', 'Z');
  const counted = `${confirmations} ${confirmations === 1 ? 'confirmation' : 'confirmations'}`;
  return `in block ${block.number} of ${at}, ${counted}, ${finality}`;
}

interface Block {
  number: number;
  hash: string;
  /** Seconds since 1970. */
  timestamp: number;
}

/** Until the year 9999; what is beyond is no time of a block. */
const MAX_TIMESTAMP = 253_402_300_799;

function readBlock(value: unknown): Block | null {
  if (!isObject(value)) return null;
  const number = readQuantity(value.number);
  const hash = readHash(value.hash);
  const timestamp = readQuantity(value.timestamp);
  if (number === null || hash === null || timestamp === null || timestamp > MAX_TIMESTAMP) return null;
  return { number, hash, timestamp };
}

/** The quantity of EIP-1474: 0x and hexadecimal digits without leading zeros. */
function quantity(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Null for anything else, and for what a double does not hold. */
function readQuantity(value: unknown): number | null {
  if (typeof value !== 'string' || !/^0x(0|[1-9a-f][\da-f]{0,13})$/.test(value)) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : null;
}

/** 32 bytes that hold a number. */
function readWord(value: unknown): number | null {
  const digits = readHash(value)
    ?.slice(2)
    .replace(/^0+(?=.)/, '');
  return digits === undefined ? null : readQuantity(`0x${digits}`);
}

function readHash(value: unknown): string | null {
  return typeof value === 'string' && /^0x[\da-f]{64}$/i.test(value) ? value.toLowerCase() : null;
}

function readAddress(value: unknown): string | null {
  return typeof value === 'string' && /^0x[\da-f]{40}$/i.test(value) ? value.toLowerCase() : null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function failed(detail: string): SignatureOutcome {
  return { outcome: 'failed', detail };
}

function unknown(detail: string): SignatureOutcome {
  return { outcome: 'unknown_signer', detail };
}
