/** How many times as many runs as in `npm test`: for `npm run test:fuzz`, and whoever looks for something rare. */
const FACTOR = Number(process.env.PROPERTY_FACTOR ?? 1);

/** What fast-check is told: `numRuns` is what a change is tested with, in seconds. */
export function propertyRuns(numRuns: number): { numRuns: number } {
  return { numRuns: Math.ceil(numRuns * FACTOR) };
}
