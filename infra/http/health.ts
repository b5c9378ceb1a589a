import { ImmutableError } from '../../core/errors.ts';
import type { Registry } from '../metrics.ts';
import { errorResponse, jsonResponse } from './answer.ts';
import type { Route } from './types.ts';

/** What stands in the way of work, one sentence each; nothing when all is well. */
export type Readiness = () => readonly string[] | Promise<readonly string[]>;

/**
 * `/healthz`: the process runs and its event loop turns. `/readyz`: it can do its work now; 503 with the
 * reasons otherwise. `/metrics`: Prometheus text.
 */
export function healthRoutes({ metrics, ready }: { metrics: Registry; ready: Readiness }): Route[] {
  return [
    { method: 'GET', path: '/healthz', handler: () => jsonResponse(200, { status: 'ok' }) },
    {
      method: 'GET',
      path: '/readyz',
      handler: async ({ id }) => {
        const reasons = await ready();
        if (reasons.length === 0) return jsonResponse(200, { status: 'ready' });
        return errorResponse(new ImmutableError('unavailable', reasons.join(' ')), id);
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      handler: async () => ({
        status: 200,
        headers: { 'content-type': metrics.contentType },
        body: await metrics.metrics(),
      }),
    },
  ];
}
