import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { hexDecode, hexEncode } from './bytes.ts';
import { parseVerifierKey } from './checkpoint.ts';
import { anchoredRootOf, verifyEvidence } from './evidence.ts';
import { ANCHORED_TOPIC, checkOnChain, type OnChainAnswers, onChainQuestions } from './on-chain.ts';

const ANCHOR = {
  root: hexDecode('ab'.repeat(32))!,
  txHash: `0x${'12'.repeat(32)}`,
  blockNumber: 0x1234,
};
const PLACE = { chainId: 8453, contract: `0x${'C0'.repeat(20)}` };
const BLOCK_HASH = `0x${'bb'.repeat(32)}`;
const TIME = 1_773_600_000;

const word = (value: number) => `0x${value.toString(16).padStart(64, '0')}`;
const hex = (value: number) => `0x${value.toString(16)}`;

const LOG = {
  address: PLACE.contract.toLowerCase(),
  topics: [ANCHORED_TOPIC, `0x${hexEncode(ANCHOR.root)}`],
  data: word(TIME),
  blockHash: BLOCK_HASH,
  transactionHash: ANCHOR.txHash,
};
const RECEIPT = {
  status: '0x1',
  transactionHash: ANCHOR.txHash,
  blockNumber: hex(ANCHOR.blockNumber),
  blockHash: BLOCK_HASH,
  logs: [{ ...LOG, topics: [`0x${'99'.repeat(32)}`] }, LOG],
};
const BLOCK = { number: hex(ANCHOR.blockNumber), hash: BLOCK_HASH, timestamp: hex(TIME) };
const HONEST: OnChainAnswers = {
  chainId: hex(PLACE.chainId),
  receipt: RECEIPT,
  block: BLOCK,
  blockOf: word(ANCHOR.blockNumber),
  newest: hex(ANCHOR.blockNumber + 99),
  safe: { ...BLOCK, number: hex(ANCHOR.blockNumber + 30) },
  finalized: { ...BLOCK, number: hex(ANCHOR.blockNumber - 1) },
};

test('a node is asked for the chain, the receipt, the block, the contract’s own word, and how far it is', () => {
  expect(Object.values(onChainQuestions(ANCHOR, PLACE))).toEqual([
    { method: 'eth_chainId', params: [] },
    { method: 'eth_getTransactionReceipt', params: [ANCHOR.txHash] },
    { method: 'eth_getBlockByNumber', params: ['0x1234', false] },
    {
      method: 'eth_call',
      params: [{ to: PLACE.contract.toLowerCase(), data: `0x7ee64074${'ab'.repeat(32)}` }, 'latest'],
    },
    { method: 'eth_blockNumber', params: [] },
    { method: 'eth_getBlockByNumber', params: ['safe', false] },
    { method: 'eth_getBlockByNumber', params: ['finalized', false] },
  ]);
});

describe('an honest node', () => {
  test('says where the root is, and how firmly', () => {
    expect(checkOnChain(ANCHOR, PLACE, HONEST)).toEqual({
      outcome: 'passed',
      detail: 'in block 4660 of 2026-03-15T18:40:00Z, 100 confirmations, the chain calls it safe',
    });
  });

  test.each([
    ['the chain calls it final', { finalized: BLOCK }],
    ['not safe yet: it may still be taken back', { safe: { ...BLOCK, number: '0x1' } }],
    ['the node does not say whether it is safe', { safe: undefined, finalized: undefined }],
    ['the node does not say whether it is safe', { safe: null, finalized: null }],
  ])('%s', (finality, answers) => {
    const { outcome, detail } = checkOnChain(ANCHOR, PLACE, { ...HONEST, ...answers });
    expect(outcome).toBe('passed');
    expect(detail).toContain(finality);
  });

  test('may write letters of addresses and hashes large', () => {
    const upper = (text: string) => `0x${text.slice(2).toUpperCase()}`;
    const logs = [{ ...LOG, address: upper(LOG.address), topics: LOG.topics.map(upper) }];
    expect(checkOnChain(ANCHOR, PLACE, { ...HONEST, receipt: { ...RECEIPT, logs } }).outcome).toBe('passed');
  });
});

const receiptWith = (members: object) => ({ receipt: { ...RECEIPT, ...members } });
const logWith = (members: object) => receiptWith({ logs: [{ ...LOG, ...members }] });

describe('what does not hold is found:', () => {
  test.each<[string, string, OnChainAnswers]>([
    ['another chain', 'the node is of chain 1, not 8453', { chainId: '0x1' }],
    ['a chain id that is none', 'the node is of chain ?', { chainId: 8453 }],
    ['no such transaction', 'the chain has no transaction', { receipt: null }],
    [
      'the receipt of another transaction',
      'receipt is of another',
      receiptWith({ transactionHash: BLOCK_HASH }),
    ],
    ['a receipt that is none', 'receipt is of another', { receipt: [] }],
    ['a transaction that failed', 'the transaction failed', receiptWith({ status: '0x0' })],
    ['no status', 'the transaction failed', receiptWith({ status: 1 })],
    ['another block', 'is in block 4661, not 4660', receiptWith({ blockNumber: '0x1235' })],
    ['a number with leading zeros', 'is in block ?', receiptWith({ blockNumber: '0x01234' })],
    ['a number beyond doubles', 'is in block ?', receiptWith({ blockNumber: '0xffffffffffffffff' })],
    ['no logs', 'no log of the contract', receiptWith({ logs: [] })],
    ['logs that are none', 'no log of the contract', receiptWith({ logs: 'x' })],
    ['logs of nothing', 'no log of the contract', receiptWith({ logs: [null, 1, []] })],
    ['a log of another contract', 'no log of the contract', logWith({ address: `0x${'c1'.repeat(20)}` })],
    ['a log of another event', 'no log of the contract', logWith({ topics: [BLOCK_HASH, LOG.topics[1]] })],
    ['a log of another root', 'no log of the contract', logWith({ topics: [LOG.topics[0], BLOCK_HASH] })],
    ['a log with a topic more', 'no log of the contract', logWith({ topics: [...LOG.topics, BLOCK_HASH] })],
    ['a log of another transaction', 'no log of the contract', logWith({ transactionHash: BLOCK_HASH })],
    ['a log of another block', 'no log of the contract', logWith({ blockHash: `0x${'bc'.repeat(32)}` })],
    ['a log that was taken back', 'no log of the contract', logWith({ removed: true })],
    ['a log of another time', 'tells another time', logWith({ data: word(TIME + 1) })],
    ['a log without a time', 'tells another time', logWith({ data: '0x' })],
    ['no such block', 'another block at number 4660', { block: null }],
    ['a block of another number', 'another block at number', { block: { ...BLOCK, number: '0x1235' } }],
    ['a block of another hash', 'another block at number', { block: { ...BLOCK, hash: ANCHOR.txHash } }],
    ['a block of the year 99999', 'another block', { block: { ...BLOCK, timestamp: '0x2cf03ab4d80' } }],
    ['a contract that does not know the root', 'another block for this root', { blockOf: word(0) }],
    ['a contract that is none', 'another block for this root', { blockOf: '0x' }],
    ['a contract that knows another block', 'another block for this root', { blockOf: word(4661) }],
  ])('%s', (_name, said, answers) => {
    const { outcome, detail } = checkOnChain(ANCHOR, PLACE, { ...HONEST, ...answers });
    expect(outcome).toBe('failed');
    expect(detail).toContain(said);
  });

  test.each(['chainId', 'receipt', 'block', 'blockOf', 'newest'])(
    'a node that does not answer for %s vouches for nothing',
    (name) => {
      const { outcome, detail } = checkOnChain(ANCHOR, PLACE, { ...HONEST, [name]: undefined });
      expect(outcome).toBe('unknown_signer');
      expect(detail).toMatch(/^the node does not answer eth_/);
    },
  );

  test('whatever stands in an answer, nothing throws, and nothing passes', () => {
    const junk = [null, 0, '', '0x', [], {}, true, { logs: {} }, { number: {} }, 'x'.repeat(10_000)];
    for (const name of ['chainId', 'receipt', 'block', 'blockOf'] as const) {
      for (const value of junk) {
        expect(checkOnChain(ANCHOR, PLACE, { ...HONEST, [name]: value }).outcome).toBe('failed');
      }
    }
    for (const value of junk) {
      for (const name of ['newest', 'safe', 'finalized'] as const) {
        expect(checkOnChain(ANCHOR, PLACE, { ...HONEST, [name]: value }).outcome).toBe('passed');
      }
    }
  });
});

describe('evidence', () => {
  const [plain, anchored] = vectors.evidence.valid as unknown[];
  const root = anchoredRootOf(anchored)!;
  const place = { chainId: 8453, contract: (anchored as { anchor: { contract: string } }).anchor.contract };
  const receipt = {
    ...RECEIPT,
    transactionHash: root.txHash,
    blockNumber: hex(root.blockNumber),
    logs: [
      {
        ...LOG,
        address: place.contract,
        transactionHash: root.txHash,
        topics: [ANCHORED_TOPIC, `0x${hexEncode(root.root)}`],
      },
    ],
  };
  const onChain = {
    ...HONEST,
    receipt,
    block: { ...BLOCK, number: hex(root.blockNumber) },
    blockOf: word(root.blockNumber),
  };
  const trust = { verifierKeys: [parseVerifierKey(vectors.checkpoint.verifier_key)!], anchor: place };
  const check = (evidence: unknown, answers: OnChainAnswers | undefined) => {
    const report = verifyEvidence(evidence, { ...trust, ...(answers && { onChain: answers }) });
    return [report.verdict, report.checks.find(({ name }) => name === 'on_chain')?.outcome];
  };

  test('is looked up only where that was asked for', () => {
    expect(check(anchored, undefined)).toEqual(['valid', undefined]);
    expect(check(anchored, onChain)).toEqual(['valid', 'passed']);
    expect(check(anchored, { ...onChain, receipt: null })).toEqual(['invalid', 'failed']);
  });

  test('that is not anchored, or about which nobody says anything, is vouched for by no chain', () => {
    expect(anchoredRootOf(plain)).toBeNull();
    expect(anchoredRootOf('x')).toBeNull();
    expect(check(plain, {})).toEqual(['unknown_signer', 'unknown_signer']);
    expect(check(anchored, {})).toEqual(['unknown_signer', 'unknown_signer']);
  });
});
