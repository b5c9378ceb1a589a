import { type Dispatcher, request } from 'undici';
import { guardedAgent } from './agent.ts';
import { type Destination, parseDestination } from './destination.ts';
import { describeFailure } from './failure.ts';
import type { OutboundPolicy } from './policy.ts';
import { checkedAddresses, OutboundRefused, type Resolve } from './resolver.ts';

/** Requests to URLs that somebody else chose: webhooks, log streams. */
export interface Sender {
  /** Never rejects for what the other side does. */
  send(message: OutboundMessage): Promise<Outcome>;
  /** Why nothing would be sent to the URL, in words for whoever gave it; undefined if it would. Asks DNS. */
  refusalOf(url: string): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface OutboundMessage {
  url: string;
  method: 'POST' | 'PUT';
  headers: Record<string, string>;
  body: string | Uint8Array;
}

export type Outcome =
  /** Any status; a redirect is an answer like others, and is not followed. */
  | {
      kind: 'answered';
      status: number;
      retryAfter: string | undefined;
      answer: AnswerText;
      latencyMs: number;
    }
  /** Must not be sent there: nothing was. */
  | { kind: 'refused'; reason: string }
  /** Whether the other side has it is not known. `reason` names no address. */
  | { kind: 'failed'; reason: string; latencyMs: number };

export interface AnswerText {
  text: string;
  /** There was more, or the rest did not come in time. */
  isCut: boolean;
}

export interface SenderOptions {
  policy: OutboundPolicy;
  resolve: Resolve;
  /** See `GuardedAgentOptions`. */
  ca?: readonly string[];
  /** For all of a request: name, connection, sending, and the whole answer. */
  timeoutMs?: number;
  /** Of the answer's body; what is beyond is not read. */
  maxAnswerBytes?: number;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 4_096;

export function createSender(options: SenderOptions): Sender {
  const { policy, resolve, timeoutMs = TIMEOUT_MS, maxAnswerBytes = MAX_ANSWER_BYTES } = options;
  const agent = guardedAgent({ ...options, timeoutMs });

  async function exchange({ url }: Destination, message: OutboundMessage): Promise<Outcome> {
    const { method, headers, body } = message;
    const startedMs = performance.now();
    const latencyMs = () => performance.now() - startedMs;
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await request(url, { dispatcher: agent, method, headers, body, signal });
      const answer = await readAnswer(response.body, maxAnswerBytes);
      const retryAfter = [response.headers['retry-after']].flat()[0];
      return { kind: 'answered', status: response.statusCode, retryAfter, answer, latencyMs: latencyMs() };
    } catch (error) {
      if (error instanceof OutboundRefused) return { kind: 'refused', reason: error.message };
      return { kind: 'failed', reason: describeFailure(error, timeoutMs), latencyMs: latencyMs() };
    }
  }

  return {
    async send(message) {
      const parsed = parseDestination(message.url, policy);
      return parsed.ok ? exchange(parsed.destination, message) : { kind: 'refused', reason: parsed.refusal };
    },
    async refusalOf(url) {
      const parsed = parseDestination(url, policy);
      if (!parsed.ok) return parsed.refusal;
      try {
        await checkedAddresses(parsed.destination, policy, resolve);
        return undefined;
      } catch (error) {
        return error instanceof OutboundRefused ? error.message : describeFailure(error, timeoutMs);
      }
    },
    close: () => agent.destroy(),
  };
}

/** What comes in time, up to so many bytes; the status is an answer even where the rest is not. */
async function readAnswer(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<AnswerText> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isCut = false;
  try {
    for await (const chunk of body) {
      chunks.push(Buffer.from(chunk));
      bytes += chunks.at(-1)?.length ?? 0;
      if (bytes > maxBytes) break; // and the connection is closed
    }
  } catch {
    isCut = true;
  }
  const text = Buffer.concat(chunks).subarray(0, maxBytes).toString('utf8');
  return { text, isCut: isCut || bytes > maxBytes };
}
