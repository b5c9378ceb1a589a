// npm run setup: installs what is missing and builds.
import './node-version.mjs';

const { exitWith } = await import('./failure.mjs');
const { setUp } = await import('./steps.mjs');

const startedAt = performance.now();
await setUp().catch(exitWith);
console.error(
  `Everything is in place (${((performance.now() - startedAt) / 1000).toFixed(1)} s). Start it with: npm start`,
);
