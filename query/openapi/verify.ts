import { errors, timeParameters } from './shared.ts';
import { json, object, parameter, ref, type Schema, WARNINGS } from './words.ts';

export function verifyPaths(): Schema {
  return { '/verify': { get: VERIFY } };
}

const VERIFY: Schema = {
  operationId: 'verify',
  summary: 'Recompute the chain of the workspace and name every event that does not fit.',
  parameters: [
    ...timeParameters(),
    parameter(
      'limit',
      { type: 'integer', minimum: 1, default: 10_000 },
      'Most events to check, oldest first.',
    ),
  ],
  responses: {
    200: {
      description: 'What was checked, and what was found.',
      content: json(object({ data: ref('Verification'), warnings: WARNINGS }, ['data'])),
    },
    ...errors('unauthenticated', 'forbidden', 'validation_failed', 'rate_limited', 'unavailable'),
  },
};
