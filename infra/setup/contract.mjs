// npm run contract: compiles anchor/contract/ImmutableAnchor.sol and writes its artifact beside it.
// With --input it prints what the compiler is given, for block explorers.
import './node-version.mjs';

const { writeFileSync } = await import('node:fs');
const { exitWith } = await import('./failure.mjs');
const { ARTIFACT, compileContract, compilerInput } = await import('./solidity.mjs');

try {
  if (process.argv.includes('--input')) process.stdout.write(`${JSON.stringify(compilerInput(), null, 2)}\n`);
  else writeFileSync(ARTIFACT, compileContract());
} catch (error) {
  exitWith(error);
}
