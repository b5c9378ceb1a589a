import { openNote, parseForeignCheckpoint, type VerifierKey } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import { ADD_CHECKPOINT_PATH, encodeAddCheckpoint } from '../../core/witness-message.ts';
import { nativeHasher } from '../../infra/hash.ts';
import {
  type Asked,
  type Cosigned,
  failed,
  nextStep,
  type WitnessAnswer,
  type WitnessFailure,
} from './witness-answer.ts';

/** A witness, as a policy names it. */
export interface WitnessAddress {
  key: VerifierKey;
  /** The submission prefix of C2SP tlog-witness, with or without a slash at its end. */
  url: string;
}

export interface Submission {
  witness: WitnessAddress;
  /** The checkpoint's note, signed by the log. */
  note: string;
  /** What this witness cosigned last, as far as is known; 0 costs one request more. */
  rememberedSize: number;
  /** The consistency proof between two sizes of the log; asked for with whatever size the witness knows. */
  proofFrom: (oldSize: number, size: number) => Promise<readonly Uint8Array[]>;
  /** For each request, answer included. */
  timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** With the remembered size, with the one it told instead, and once more if someone else was faster. */
const MAX_REQUESTS = 3;

/**
 * Asks a witness to cosign a checkpoint. Keeps nothing and repeats nothing by itself but with the size that the
 * witness told. Asking twice does no harm: a witness cosigns what it has cosigned again. Rejects only where the
 * note is no checkpoint or `proofFrom` rejects; whatever the witness does is a result.
 */
export async function submitCheckpoint(submission: Submission): Promise<Cosigned | WitnessFailure> {
  const { witness, note, proofFrom, timeoutMs = TIMEOUT_MS } = submission;
  const { text, size } = readNote(note);
  // More than the checkpoint has is remembered of a later one, which this one does not continue.
  let oldSize = Math.min(submission.rememberedSize, size);
  for (let request = 1; request <= MAX_REQUESTS; request += 1) {
    const consistencyProof = needsProof(oldSize, size) ? await proofFrom(oldSize, size) : [];
    const body = encodeAddCheckpoint({ oldSize, consistencyProof, note });
    const answer = await post(witness.url, body, timeoutMs);
    if ('kind' in answer) return answer;
    const asked: Asked = { key: witness.key, text, size, oldSize };
    const next = nextStep(asked, answer, nativeHasher);
    if (next.kind !== 'ask_again') return next;
    oldSize = next.oldSize;
  }
  return failed('unsettled', `it told another size ${MAX_REQUESTS} times`);
}

function readNote(note: string): { text: string; size: number } {
  const opened = openNote(note);
  const checkpoint = opened === null ? null : parseForeignCheckpoint(opened.text);
  if (opened === null || checkpoint === null)
    throw new ImmutableError('internal', `not a checkpoint for a witness: ${note.slice(0, 200)}`);
  return { text: opened.text, size: checkpoint.size };
}

function needsProof(oldSize: number, size: number): boolean {
  return oldSize > 0 && oldSize < size;
}

/** Follows no redirect: the cosignature would tell nothing of it, but the checkpoint would go to someone else. */
async function post(url: string, body: string, timeoutMs: number): Promise<WitnessAnswer | WitnessFailure> {
  try {
    const response = await fetch(`${url.replace(/\/$/, '')}${ADD_CHECKPOINT_PATH}`, {
      method: 'POST',
      body,
      redirect: 'manual',
      headers: { 'Content-Type': 'text/plain; charset=utf-8', 'Accept-Encoding': 'identity' },
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await readCapped(response);
    if (text === undefined)
      return failed('malformed_answer', `its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    return { status: response.status, contentType: response.headers.get('content-type') ?? '', body: text };
  } catch (error) {
    return failed('unreachable', reasonOf(error, timeoutMs));
  }
}

/** Undefined for an answer that is too long, of which the rest is not read. */
async function readCapped(response: Response): Promise<string | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop cancels the answer and gives up its connection.
  for await (const piece of response.body ?? []) {
    length += piece.length;
    if (length > MAX_ANSWER_BYTES) return undefined;
    pieces.push(piece);
  }
  // What is not UTF-8 becomes U+FFFD, which is neither in base64 nor in a size.
  return Buffer.concat(pieces).toString('utf8');
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `it did not answer within ${timeoutMs} ms`;
  // fetch itself only says that it failed.
  return error.cause instanceof Error ? error.cause.message : error.message;
}
