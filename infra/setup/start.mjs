// npm start: sets up, then runs the whole stack in this same process, so that Ctrl-C and the exit code are its own.
import './node-version.mjs';

const { exitWith } = await import('./failure.mjs');
const { runProgram } = await import('./program.mjs');
const { setUp } = await import('./steps.mjs');

await setUp({ natsNeeded: !process.env.IMMUTABLE_NATS_URL }).catch(exitWith);
await runProgram('cli/main.js', ['up', ...process.argv.slice(2)]);
