import { ANCHOR_SCHEMAS, anchorPaths } from './anchors.ts';
import { eventPaths } from './events.ts';
import { exportPaths } from './exports.ts';
import { PROOF_SCHEMAS, proofPaths } from './proofs.ts';
import { SCHEMAS } from './schemas.ts';
import { verifyPaths } from './verify.ts';
import { JSON_OBJECT, json, type Schema } from './words.ts';

/**
 * The OpenAPI 3.1 description of the routes that exist. What an event may hold comes from the same table
 * as its validation, and a test checks the handlers' answers against the schemas.
 */
export function openApiDocument(): Schema {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Immutable',
      version: '1',
      summary: 'An audit log that can prove it was not changed.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/api/v1' }],
    security: [{ apiKey: [] }],
    paths: {
      ...eventPaths(),
      ...verifyPaths(),
      ...proofPaths(),
      ...anchorPaths(),
      ...exportPaths(),
      '/openapi.json': { get: DESCRIBE },
    },
    components: {
      securitySchemes: {
        apiKey: { type: 'http', scheme: 'bearer', description: 'An API key, `imk_…`.' },
      },
      schemas: { ...SCHEMAS, ...PROOF_SCHEMAS, ...ANCHOR_SCHEMAS },
    },
  };
}

const DESCRIBE: Schema = {
  operationId: 'describe',
  summary: 'This description.',
  security: [],
  responses: { 200: { description: 'OpenAPI 3.1.', content: json(JSON_OBJECT) } },
};
