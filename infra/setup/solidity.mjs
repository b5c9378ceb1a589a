import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupFailure } from './failure.mjs';
import { MODULES, ROOT } from './paths.mjs';

const NAME = 'ImmutableAnchor';
/** From the root of the repository, also as the compiler and block explorers know it. */
const SOURCE = `anchor/contract/${NAME}.sol`;

export const ARTIFACT = join(ROOT, 'anchor', 'contract', `${NAME}.json`);

/** Why these: docs/decisions/0014-anchor-contract.md. */
const SETTINGS = {
  evmVersion: 'cancun',
  optimizer: { enabled: true, runs: 10_000 },
  viaIR: false,
  metadata: { bytecodeHash: 'none' },
};

/** The text of the artifact: the same bytes from the same source, wherever it is compiled. */
export function compileContract() {
  const source = readFileSync(join(ROOT, SOURCE), 'utf8');
  const { contracts, errors = [] } = compile(source);
  if (errors.length > 0) {
    const output = errors.map(({ formattedMessage }) => formattedMessage).join('\n');
    throw new SetupFailure('The contract does not compile without a warning.', 'See above.', { output });
  }
  const { abi, evm, metadata } = contracts[SOURCE][NAME];
  const artifact = {
    contractName: NAME,
    sourceName: SOURCE,
    compiler: JSON.parse(metadata).compiler.version,
    settings: SETTINGS,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
  };
  return `${JSON.stringify(artifact, null, 2)}\n`;
}

function compile(content) {
  const outputs = ['abi', 'metadata', 'evm.bytecode.object', 'evm.deployedBytecode.object'];
  const input = {
    language: 'Solidity',
    sources: { [SOURCE]: { content } },
    settings: { ...SETTINGS, outputSelection: { [SOURCE]: { [NAME]: outputs } } },
  };
  const answer = execFileSync(process.execPath, [join(MODULES, 'solc', 'solc.js'), '--standard-json'], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  return JSON.parse(answer.slice(answer.indexOf('{')));
}
