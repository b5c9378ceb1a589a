import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ARTIFACT, compileContract } from '../infra/setup/solidity.mjs';
import { anchorCall, blockOfAnswer, blockOfCall, contractError, isAnchored, readArtifact } from './abi.ts';

const ROOT = 'ab'.repeat(32);
const CONTRACT = `0x${'c0'.repeat(20)}` as const;

describe('the artifact', () => {
  it('is what the source compiles to, byte for byte (npm run contract)', () => {
    expect(readFileSync(ARTIFACT, 'utf8') === compileContract()).toBe(true);
  });

  it('is of the compiler and the settings that are written down', () => {
    expect(JSON.parse(readFileSync(ARTIFACT, 'utf8'))).toMatchObject({
      compiler: '0.8.37+commit.f401782d',
      settings: { evmVersion: 'cancun', optimizer: { enabled: true, runs: 200 } },
    });
  });

  it('cannot call other code, replace itself or destroy itself', () => {
    const opcodes = opcodesOf(readArtifact().deployedBytecode);
    expect(opcodes).toContain(SSTORE);
    for (const opcode of [CREATE, CALL, CALLCODE, DELEGATECALL, CREATE2, STATICCALL, SELFDESTRUCT]) {
      expect(opcodes).not.toContain(opcode);
    }
  });

  it('has the functions, events and errors that the ledger speaks of', () => {
    const { abi } = JSON.parse(readFileSync(ARTIFACT, 'utf8'));
    const names = abi.map(({ type, name = '' }: { type: string; name?: string }) => `${type} ${name}`.trim());
    expect(names.sort()).toEqual(
      [
        'constructor',
        ...['anchor', 'setSubmitter', 'transferOwnership', 'acceptOwnership'].map(
          (name) => `function ${name}`,
        ),
        ...['owner', 'successor', 'isSubmitter', 'blockOf'].map((name) => `function ${name}`),
        ...['Anchored', 'SubmitterSet', 'OwnershipTransferStarted', 'OwnershipTransferred'].map(
          (name) => `event ${name}`,
        ),
        ...['NotAllowed', 'NotOwner', 'NotSuccessor', 'ZeroOwner', 'ZeroRoot', 'AlreadyAnchored'].map(
          (name) => `error ${name}`,
        ),
      ].sort(),
    );
  });
});

const [SSTORE, CREATE, CALL, CALLCODE] = [0x55, 0xf0, 0xf1, 0xf2];
const [DELEGATECALL, CREATE2, STATICCALL, SELFDESTRUCT] = [0xf4, 0xf5, 0xfa, 0xff];
const [PUSH1, PUSH32] = [0x60, 0x7f];

/** Without what PUSH pushes, and without the note about the compiler that follows the code. */
function opcodesOf(bytecode: string): number[] {
  const bytes = Buffer.from(bytecode.slice(2), 'hex');
  const code = bytes.subarray(0, bytes.length - 2 - bytes.readUInt16BE(bytes.length - 2));
  const opcodes: number[] = [];
  for (let at = 0; at < code.length; at += 1) {
    const opcode = code[at]!;
    opcodes.push(opcode);
    if (opcode >= PUSH1 && opcode <= PUSH32) at += opcode - PUSH1 + 1;
  }
  return opcodes;
}

describe('what the contract says', () => {
  const log = {
    address: CONTRACT,
    // keccak256('Anchored(bytes32,uint256)')
    topics: [
      '0xfde54488b5523b3abf19b99976dd0e2c531fbcd233d0eb682c96c3a18cf6b3c1',
      `0x${ROOT}`,
    ] as `0x${string}`[],
    data: `0x${(1_700_000_000).toString(16).padStart(64, '0')}` as const,
    transactionHash: '0x' as const,
    blockHash: '0x' as const,
    blockNumber: 1,
  };

  it('is taken for an anchor only if contract, root and time agree', () => {
    expect(isAnchored(log, CONTRACT, ROOT, 1_700_000_000_000)).toBe(true);
    expect(isAnchored({ ...log, address: `0x${'c1'.repeat(20)}` }, CONTRACT, ROOT, 1_700_000_000_000)).toBe(
      false,
    );
    expect(isAnchored(log, CONTRACT, 'ac'.repeat(32), 1_700_000_000_000)).toBe(false);
    expect(isAnchored(log, CONTRACT, ROOT, 1_700_000_002_000)).toBe(false);
    expect(isAnchored({ ...log, topics: log.topics.slice(1) }, CONTRACT, ROOT, 1_700_000_000_000)).toBe(
      false,
    );
  });

  it('is a block, or nothing', () => {
    expect(blockOfAnswer(`0x${'0'.repeat(63)}7`)).toBe(7);
    expect(blockOfAnswer('0x')).toBeUndefined();
    expect(blockOfAnswer(`0x${'f'.repeat(64)}`)).toBeUndefined();
    expect(blockOfAnswer('0x07')).toBeUndefined();
  });

  it('names its errors', () => {
    expect(contractError('0xb263ae73')).toBe('ZeroRoot');
    expect(contractError(`0xfa5cd00f${'0'.repeat(64)}`)).toBe('NotAllowed');
    expect(contractError(`0xcb829638${ROOT}${'0'.repeat(64)}`)).toBe('AlreadyAnchored');
    expect(contractError('0xcb829638')).toBeUndefined();
    for (const garbage of [undefined, null, 'Reverted', 7, {}, '0x', '0xzz']) {
      expect(contractError(garbage)).toBeUndefined();
    }
  });

  it('is asked by the selectors of anchor(bytes32) and blockOf(bytes32)', () => {
    expect(anchorCall(ROOT)).toBe(`0xeecdf927${ROOT}`);
    expect(blockOfCall(ROOT)).toBe(`0x7ee64074${ROOT}`);
  });
});
