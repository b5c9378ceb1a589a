// npm run bench [case…]: sets up, then measures.
import './node-version.mjs';

const { exitWith } = await import('./failure.mjs');
const { runProgram } = await import('./program.mjs');
const { setUp } = await import('./steps.mjs');

await setUp().catch(exitWith);
await runProgram('test/bench/main.js', process.argv.slice(2));
