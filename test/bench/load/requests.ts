import { documentEvent } from '../event.ts';
import type { LoadPlan } from './plan.ts';

/** Requests kept ready; with single events each holds another variant, with batches 100 others. */
const PREBUILT = 2000;
const PREBUILT_BATCHES = 100;

/** Every request as bytes, made before the clock starts: head and body in one piece, workspaces in turn. */
export function buildRequests(
  plan: Pick<LoadPlan, 'host' | 'port' | 'path' | 'apiKeys' | 'batchSize'>,
): Buffer[] {
  const keys = plan.apiKeys.length === 0 ? [''] : plan.apiKeys;
  const perKey = Math.ceil((plan.batchSize === 0 ? PREBUILT : PREBUILT_BATCHES) / keys.length);
  return Array.from({ length: perKey * keys.length }, (_, index) => {
    const body = plan.batchSize === 0 ? documentEvent(index) : batchBody(index, plan.batchSize);
    return requestBytes(plan, keys[index % keys.length] ?? '', body);
  });
}

function batchBody(index: number, size: number): string {
  const events = Array.from({ length: size }, (_, place) => documentEvent(index * size + place));
  return `{"events":[${events.join(',')}]}`;
}

function requestBytes(
  plan: { host: string; port: number; path: string },
  apiKey: string,
  body: string,
): Buffer {
  return Buffer.from(
    `POST ${plan.path} HTTP/1.1\r\nHost: ${plan.host}:${plan.port}\r\nAuthorization: Bearer ${apiKey}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
