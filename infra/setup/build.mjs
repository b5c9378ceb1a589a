// npm run build: installs npm packages if need be, and compiles.
import './node-version.mjs';

const { exitWith } = await import('./failure.mjs');
const { setUp } = await import('./steps.mjs');

await setUp({ natsNeeded: false }).catch(exitWith);
