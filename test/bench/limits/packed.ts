import { randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import { canonicalTexts } from '../../../core/canonical.ts';
import { encodeQueuedLine, queuedMessageFromLines } from '../../../core/message.ts';
import { crc32, nativeHasher } from '../../../infra/hash.ts';
import { documentEventInput } from '../event.ts';

const WORKSPACE_ID = 'ws_0123456789abcdef';
/** The edge's own bound for one message. */
const MAX_BYTES = 512 * 1024;

/** One full message of EVENTS, byte by byte what the edge makes of the events of the load. */
export function packedMessage(): { payload: Uint8Array; events: number } {
  const nowMicros = Date.now() * 1000;
  const lines: string[] = [];
  let bytes = 0;
  for (;;) {
    const line = queuedLine(lines.length, nowMicros);
    bytes += Buffer.byteLength(line);
    if (bytes > MAX_BYTES) break;
    lines.push(line);
  }
  return { payload: queuedMessageFromLines(WORKSPACE_ID, nowMicros, lines, crc32), events: lines.length };
}

function queuedLine(variant: number, nowMicros: number): string {
  const id = uuidv7();
  const salt = randomBytes(16).toString('hex');
  const occurredAt = new Date(nowMicros / 1000).toISOString().replace('Z', '000Z');
  const complete = {
    ...documentEventInput(variant),
    id,
    workspace_id: WORKSPACE_ID,
    occurred_at: occurredAt,
  };
  const texts = canonicalTexts(complete, salt, nativeHasher);
  return encodeQueuedLine({ id, keyed: false, salt, ...texts });
}
