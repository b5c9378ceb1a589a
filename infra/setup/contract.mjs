// npm run contract: compiles anchor/contract/ImmutableAnchor.sol and writes its artifact beside it.
import './node-version.mjs';

const { writeFileSync } = await import('node:fs');
const { exitWith } = await import('./failure.mjs');
const { ARTIFACT, compileContract } = await import('./solidity.mjs');

try {
  writeFileSync(ARTIFACT, compileContract());
} catch (error) {
  exitWith(error);
}
