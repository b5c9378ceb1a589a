import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keccak256, toHex } from 'viem';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type VerifyOptions, verifyCommand } from '../../cli/verify/command.ts';
import { anchorTree } from '../../core/anchor.ts';
import { hexEncode } from '../../core/bytes.ts';
import { checkpointText, encodeVerifierKey, openNote, verifierKeyOf } from '../../core/checkpoint.ts';
import type { JsonObject } from '../../core/json.ts';
import { ANCHORED_TOPIC, BLOCK_OF_SELECTOR } from '../../core/on-chain.ts';
import { presentEvidenceAnchor } from '../../query/anchors/present.ts';
import { CHECK, scriptValues } from '../../query/anchors/script.ts';
import type { AnchorRow } from '../../query/anchors/sql.ts';
import { contractCall, deployTestContract, sendAs } from '../support/anchor-contract.ts';
import { DEV_ACCOUNTS, startAnvil, type TestAnvil } from '../support/anvil.ts';
import { anvil, describeNeeding, programs } from '../support/requirements.ts';
import { PROXY_SECRET, type RpcBody, type RpcProxy, startRpcProxy } from '../support/rpc-proxy.ts';
import { evidenceOf, SIGNER, sampleChain } from '../support/sample-log.ts';

/** A stranger looks an anchor up: with the verifier, and with the shell script of docs/verify-on-chain.md. */

const CHAIN_ID = 8453;
/** What nothing that a node says may make. */
const NEVER = join(tmpdir(), 'immutable-never-by-a-node');

type Lie = { rewrite(method: string, answer: RpcBody): RpcBody | undefined };

function lie(about: string, change: (result: unknown) => unknown): Lie {
  return {
    rewrite: (method, answer) => (method === about ? { result: change(answer.result) } : undefined),
  };
}

await describeNeeding(anvil, 'an anchor on a chain', async () => {
  let chain: TestAnvil;
  let proxy: RpcProxy;
  let folder: string;
  let row: AnchorRow;
  let evidence: JsonObject;
  /** The chain with the contract alone. */
  let beforeAnchor: string;

  beforeAll(async () => {
    chain = await startAnvil({ chainId: CHAIN_ID });
    proxy = await startRpcProxy(chain.url);
    folder = mkdtempSync(join(tmpdir(), 'immutable-on-chain-'));
    const { contract } = await deployTestContract(chain);
    beforeAnchor = await chain.snapshot();
    const plain = evidenceOf(sampleChain(20), 7);
    const text = openNote(String(plain.checkpoint))?.text ?? '';
    // Six logs more: every kind of step from a leaf to the root.
    const others = Array.from({ length: 6 }, (_, at) =>
      checkpointText(`log.example.test/ws_000000000000000${at}`, at + 1, new Uint8Array(32).fill(at)),
    );
    const tree = anchorTree([text, ...others]);
    const leaf = tree.leaves.find(({ checkpointText }) => checkpointText === text)!;
    const root = hexEncode(tree.root);
    const txHash = await sendAs(chain, DEV_ACCOUNTS[0], contract, contractCall('anchor', `0x${root}`));
    const receipt = await receiptOf(txHash);
    await chain.mine(5);
    row = {
      checkpoint: plain.checkpoint,
      anchor_root: root,
      leaf_index: leaf.proof.leafIndex,
      tree_size: leaf.proof.treeSize,
      path: leaf.proof.path.map(hexEncode),
      batch: {
        chain_id: CHAIN_ID,
        contract,
        tx_hash: txHash,
        block_number: Number(receipt.blockNumber),
        block_hash: receipt.blockHash,
      },
    } as AnchorRow;
    evidence = { ...plain, anchor: presentEvidenceAnchor(row) };
  }, 60_000);

  afterAll(async () => {
    await proxy?.stop();
    await chain?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function receiptOf(txHash: string): Promise<{ blockNumber: string; blockHash: string }> {
    for (;;) {
      const receipt = (await chain.call('eth_getTransactionReceipt', txHash)) as never;
      if (receipt !== null) return receipt;
      await chain.mine();
    }
  }

  test('topic and selector are those of the contract', () => {
    expect(ANCHORED_TOPIC).toBe(keccak256(toHex('Anchored(bytes32,uint256)')));
    expect(BLOCK_OF_SELECTOR).toBe(keccak256(toHex('blockOf(bytes32)')).slice(0, 10));
  });

  await describeNeeding(
    programs('curl, xxd and sha256sum', 'curl', 'xxd', 'sha256sum'),
    'the script of docs/verify-on-chain.md',
    () => {
      const [VALUES = '', SCRIPT = ''] = [
        ...readFileSync('docs/verify-on-chain.md', 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm),
      ].map((match) => match[1]);
      const namesIn = (values: string) => [...values.matchAll(/^(\w+)='/gm)].map((match) => match[1]);
      const ownValues = () => (scriptValues(row) ?? '').replace(/^rpc='.*'$/m, `rpc='${chain.url}'`);

      const isOf = (block: unknown, number: number) => Number(Object(block).number) === number;

      async function run(values: string, shell = 'sh'): Promise<{ code: number; stdout: string }> {
        try {
          const { stdout } = await promisify(execFile)(shell, ['-c', `${values}\n${SCRIPT}`]);
          return { code: 0, stdout };
        } catch (error) {
          const { code, stdout } = Object(error);
          return { code: Number(code), stdout: String(stdout) };
        }
      }

      test('is the one that the public page shows, with the same values', () => {
        expect(SCRIPT.trimEnd()).toBe(CHECK);
        expect(namesIn(VALUES)).toEqual(namesIn(scriptValues(row) ?? ''));
      });

      test('holds for an anchor that is on the chain', async () => {
        const { code, stdout } = await run(ownValues());
        expect(stdout).toMatch(
          new RegExp(
            `^Root ${row.anchor_root} was written into block ${row.batch.block_number}, which is safe, at \\w+ \\w+ +\\d+ [\\d:]+ UTC 20\\d\\d\\.\n$`,
          ),
        );
        expect(code).toBe(0);
      });

      const other = (text: string) => (text.startsWith('1') ? '2' : '1') + text.slice(1);
      test.each<[string, string, (value: string) => string]>([
        ['chain_id', 'this is another chain', () => '1'],
        ['contract', 'the transaction has no such log', () => `0x${'c0'.repeat(20)}`],
        ['tx_hash', 'the transaction has no such log', () => `0x${'12'.repeat(32)}`],
        ['block_number', 'it is in another block', (value) => String(Number(value) + 1)],
        ['checkpoint', 'the path does not lead to the root', (value) => value.replace('\n20\n', '\n21\n')],
        ['anchor_root', 'the path does not lead to the root', other],
        ['leaf_index', 'the path does not lead to the root', (value) => String((Number(value) + 1) % 7)],
        ['tree_size', 'the path does not lead to the root', (value) => String(Number(value) * 4)],
        ['path', 'the path does not lead to the root', other],
        ['path', 'the path does not lead to the root', (value) => value.slice(0, -65)],
      ])('fails with another %s: %s', async (name, said, change) => {
        const values = ownValues().replace(
          new RegExp(`^${name}='([^']*)'`, 'm'),
          (_, value: string) => `${name}='${change(value)}'`,
        );
        expect(values).not.toBe(ownValues());
        expect(await run(values)).toEqual({ code: 1, stdout: `WRONG: ${said}\n` });
      });

      // A shell that is bash would run it: `$(( ))` reads what an index says as a command.
      test.each(['leaf_index', 'tree_size', 'block_number', 'chain_id'])(
        'runs no command that stands in place of %s',
        async (name) => {
          const values = ownValues().replace(
            new RegExp(`^${name}='[^']*'`, 'm'),
            () => `${name}='path[$(touch ${NEVER})0]'`,
          );
          for (const shell of ['sh', 'bash']) {
            expect(await run(values, shell)).toEqual({ code: 1, stdout: `WRONG: ${name} is no number\n` });
          }
          expect(existsSync(NEVER)).toBe(false);
        },
      );

      test('fails with a path that is longer than its tree is high', async () => {
        const values = ownValues()
          .replace(/^leaf_index='.*'/m, "leaf_index='0'")
          .replace(/^tree_size='.*'/m, "tree_size='1'");
        expect(await run(values)).toEqual({ code: 1, stdout: 'WRONG: the path does not lead to the root\n' });
      });

      test('tells a node that does not answer from one of another chain', async () => {
        expect(await run(ownValues().replace(chain.url, 'http://127.0.0.1:1'))).toEqual({
          code: 1,
          stdout: 'WRONG: the node does not answer\n',
        });
      });

      test('says that a block may be taken back where the node knows of none that is safe', async () => {
        proxy.fault = {
          rewrite: (method, answer) =>
            method === 'eth_getBlockByNumber' && !isOf(answer.result, row.batch.block_number)
              ? { result: null }
              : undefined,
        };
        const { code, stdout } = await run(ownValues().replace(chain.url, proxy.url));
        proxy.fault = undefined;
        expect(stdout).toContain('WHICH MAY STILL BE TAKEN BACK');
        expect(code).toBe(0);
      });

      test.each<[string, string, Lie]>([
        ['another chain', 'this is another chain', lie('eth_chainId', () => '0x1')],
        ['no receipt', 'the transaction has no such log', lie('eth_getTransactionReceipt', () => null)],
        [
          'a block that was dropped',
          'the block is not part of the chain',
          lie('eth_getBlockByNumber', (block) => ({ ...Object(block), hash: `0x${'ab'.repeat(32)}` })),
        ],
        [
          'another time',
          'the time is another',
          lie('eth_getBlockByNumber', (block) => ({ ...Object(block), timestamp: '0x1' })),
        ],
        [
          'a contract that does not know it',
          'the contract says otherwise',
          lie('eth_call', () => `0x${'0'.repeat(64)}`),
        ],
        [
          'commands in place of answers',
          'this is another chain',
          lie('eth_chainId', () => `$(touch ${NEVER})\`touch ${NEVER}\``),
        ],
      ])('finds out a node that tells of %s', async (_name, said, fault) => {
        proxy.fault = fault;
        expect(await run(ownValues().replace(chain.url, proxy.url))).toEqual({
          code: 1,
          stdout: `WRONG: ${said}\n`,
        });
        proxy.fault = undefined;
        expect(existsSync(NEVER)).toBe(false);
      });
    },
  );

  describe('immutable verify --rpc', () => {
    interface Said {
      code: number;
      out: string;
      err: string;
    }

    async function verify(options: Partial<VerifyOptions> = {}, file: JsonObject = evidence): Promise<Said> {
      const target = join(folder, 'evidence.json');
      writeFileSync(target, JSON.stringify(file));
      const [out, err]: [string[], string[]] = [[], []];
      const terminal = {
        step: <T>(_: string, step: () => Promise<T>) => step(),
        say: (sentence: string) => void err.push(sentence),
        result: (text: string) => void out.push(text),
      };
      const code = await verifyCommand(terminal as never, {
        target,
        verifierKeys: [encodeVerifierKey(verifierKeyOf(SIGNER))],
        logKeys: [],
        onlyNew: false,
        json: false,
        rpc: proxy.url,
        chainId: CHAIN_ID,
        contract: row.batch.contract,
        ...options,
      });
      return { code, out: out.join('\n'), err: err.join('\n') };
    }

    const onChain = ({ out }: Said) =>
      JSON.parse(out).checks.find(({ name }: { name: string }) => name === 'on_chain');

    test('tells where the root is, what that proves, and whom one trusts for it', async () => {
      const said = await verify();
      expect(said.code, said.out).toBe(0);
      expect(said.out).toMatch(/✓ on_chain {4}the contract that you trust wrote this root into a block/);
      expect(said.out).toMatch(
        new RegExp(
          `in block ${row.batch.block_number} of 20\\S+Z, \\d+ confirmations, the chain calls it (safe|final)`,
        ),
      );
      expect(said.out).toContain('with your own nobody');
      expect(said.out).not.toContain('that the root is on the chain');
      expect(said.out).toContain('✓ Everything holds.');
      expect(onChain(await verify({ json: true }))).toMatchObject({ outcome: 'passed' });
    });

    test('takes chain and contract from the caller alone', async () => {
      expect(await verify({ chainId: undefined, contract: undefined })).toMatchObject({
        code: 2,
        err: expect.stringMatching(/^--rpc asks a chain, and needs --chain-id and --contract/),
      });
      for (const half of [
        { chainId: undefined },
        { contract: undefined },
        { contract: '0x12' },
        { chainId: 0 },
      ]) {
        expect(await verify(half)).toMatchObject({ code: 2, out: '' });
      }
      const other = await verify({ contract: `0x${'c0'.repeat(20)}` });
      expect(other.code).toBe(1);
      expect(other.out).toMatch(/✗ anchor .*not the trusted one/);
      const { anchor, ...rest } = evidence;
      const forged = { ...rest, anchor: { ...Object(anchor), contract: `0x${'c0'.repeat(20)}` } };
      expect((await verify({}, forged)).code).toBe(1);
    });

    test('without a node the place alone is compared', async () => {
      const said = await verify({ rpc: undefined, json: true });
      expect(said.code).toBe(0);
      expect(onChain(said)).toBeUndefined();
      const { out } = await verify({ rpc: undefined });
      expect(out).toMatch(/✓ anchor +the checkpoint is one of those under the root that the file names\n/);
      expect(out).toMatch(/It does not show:\n(?:.*\n)*.*that the root is on the chain/);
    });

    test('of an event that is not anchored, no chain says anything', async () => {
      const said = await verify({ json: true }, { ...evidence, anchor: null });
      expect(said.code).toBe(2);
      expect(onChain(said)).toMatchObject({ outcome: 'unknown_signer' });
    });

    test('is for evidence, and for http addresses', async () => {
      for (const wrong of [
        { target: 'http://127.0.0.1:1' },
        { rpc: 'ftp://node/secret-of-mine' },
        { rpc: 'x' },
      ]) {
        const { code, err } = await verify(wrong);
        expect(code).toBe(2);
        expect(err).not.toContain('secret-of-mine');
      }
    });

    test('an address whose key holds a bare % is asked, and not shown', async () => {
      const rpc = proxy.url.replace('//', '//us%er:secret-of-mine@');
      expect((await verify({ rpc })).code).toBe(0);
      const down = await verify({ rpc: 'http://us%er:secret-of-mine@127.0.0.1:1' }).catch(String);
      expect(down).toMatch(/The node 127\.0\.0\.1:1 could not be asked/);
      expect(down).not.toContain('secret-of-mine');
    });

    const txOf = () => `0x${'12'.repeat(32)}`;
    test.each<[string, number, RegExp, Lie]>([
      ['another chain', 1, /is of chain 1, not 8453/, lie('eth_chainId', () => '0x1')],
      ['no transaction', 1, /has no transaction/, lie('eth_getTransactionReceipt', () => null)],
      [
        'a receipt of another transaction',
        1,
        /receipt is of another transaction/,
        lie('eth_getTransactionReceipt', (receipt) => ({ ...Object(receipt), transactionHash: txOf() })),
      ],
      [
        'a log of another root',
        1,
        /no log of the contract with this root/,
        lie('eth_getTransactionReceipt', (receipt) => ({ ...Object(receipt), logs: [] })),
      ],
      [
        'a block that was dropped',
        1,
        /another block at number/,
        lie('eth_getBlockByNumber', (block) => ({ ...Object(block), hash: txOf() })),
      ],
      [
        'a contract without it',
        1,
        /the contract knows of another block/,
        lie('eth_call', () => `0x${'0'.repeat(64)}`),
      ],
      [
        'nothing',
        2,
        /the node does not answer eth_getTransactionReceipt/,
        {
          rewrite: (method) =>
            method === 'eth_getTransactionReceipt'
              ? { error: { code: -32_601, message: `no ${PROXY_SECRET}` } }
              : undefined,
        },
      ],
    ])('a node that tells of %s is found out', async (_name, code, said, fault) => {
      proxy.fault = fault;
      const told = await verify();
      proxy.fault = undefined;
      expect(told.code, told.out).toBe(code);
      expect(told.out).toMatch(said);
      expect(told.out + told.err).not.toContain(PROXY_SECRET);
    });

    test.each(['down', 'garbage', 'endless', 'redirecting'] as const)(
      'a node that is %s is named by its host alone',
      async (fault) => {
        proxy.fault = fault;
        const failure = await verify().catch((error: unknown) => error);
        proxy.fault = undefined;
        expect(failure).toMatchObject({ code: 'unavailable' });
        const { message, cause } = failure as Error;
        expect(message).toContain(new URL(proxy.url).host);
        expect(`${message} ${String(cause)}`).not.toContain(PROXY_SECRET);
      },
    );

    test('a root that a reorganisation took back is missed', async () => {
      await chain.revert(beforeAnchor);
      await chain.mine(3);
      const { code, out } = await verify();
      expect(code).toBe(1);
      expect(out).toMatch(/✗ on_chain {4}the chain has no transaction 0x/);
    });
  });
});
