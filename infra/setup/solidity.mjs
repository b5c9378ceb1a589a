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
  optimizer: { enabled: true, runs: 200 },
  viaIR: false,
  metadata: { bytecodeHash: 'none' },
};

/** What the compiler is given, and what block explorers ask for: "standard JSON input". */
export function compilerInput() {
  const outputs = ['abi', 'metadata', 'evm.bytecode.object', 'evm.deployedBytecode.object'];
  return {
    language: 'Solidity',
    sources: { [SOURCE]: { content: readFileSync(join(ROOT, SOURCE), 'utf8') } },
    settings: { ...SETTINGS, outputSelection: { [SOURCE]: { [NAME]: outputs } } },
  };
}

/** The text of the artifact: the same bytes from the same source, wherever it is compiled. */
export function compileContract() {
  const { contracts, errors = [] } = compile(compilerInput());
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

function compile(input) {
  const answer = execFileSync(process.execPath, [join(MODULES, 'solc', 'solc.js'), '--standard-json'], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  return JSON.parse(answer.slice(answer.indexOf('{')));
}
