import { signatureLine, signaturesBy, type VerifierKey } from '../../core/checkpoint.ts';
import { cosignerKeyId, verifyCosignatures } from '../../core/cosignature.ts';
import { type Hasher, portableHasher } from '../../core/hash.ts';
import { parseSignatureLines, parseSize, SIZE_MEDIA_TYPE } from '../../core/witness-message.ts';

/** What a witness answered to one add-checkpoint request. */
export interface WitnessAnswer {
  status: number;
  /** As in the header; empty for none. */
  contentType: string;
  body: string;
}

/** What was asked. */
export interface Asked {
  key: VerifierKey;
  /** Of the checkpoint's note, without signatures. */
  text: string;
  /** Of the checkpoint. */
  size: number;
  oldSize: number;
}

export type WitnessFailureReason =
  /** No answer: not reached, broken off, or too late. Worth asking again. */
  | 'unreachable'
  /** An answer with a status that has no meaning here. */
  | 'refused'
  /** The witness does not know the log's origin (404). */
  | 'unknown_origin'
  /** The witness trusts none of the keys that signed (403). */
  | 'untrusted'
  /** An answer that is not to the letter of the protocol. */
  | 'malformed_answer'
  /** No cosignature by the witness's key on this checkpoint, whatever else there is. */
  | 'not_cosigned'
  /** The witness has cosigned a larger checkpoint of this log. This one is late; or the log went back. */
  | 'ahead'
  /** The witness has cosigned another root for this very size: one of two logs was shown to somebody. Alarm. */
  | 'fork'
  /** The witness found that the proof does not lead from what it cosigned to this checkpoint. Alarm. */
  | 'not_consistent'
  /** Its size changed with every request. */
  | 'unsettled';

export interface WitnessFailure {
  kind: 'failed';
  reason: WitnessFailureReason;
  /** One sentence for the operator. */
  detail: string;
  /** With `ahead`: the size that the witness has cosigned. */
  knownSize?: number;
}

export interface Cosigned {
  kind: 'cosigned';
  /** The witness's cosignature, newline included: it goes below the note's other signatures. */
  line: string;
  /** To be remembered as the old size of the next request. */
  size: number;
  /** Since 1970, as the witness says. */
  timestampSeconds: number;
}

export type NextStep = Cosigned | WitnessFailure | { kind: 'ask_again'; oldSize: number };

/** What follows from an answer, as C2SP tlog-witness has it. */
export function nextStep(asked: Asked, answer: WitnessAnswer, hasher: Hasher = portableHasher): NextStep {
  switch (answer.status) {
    case 200:
      return cosignatureIn(asked, answer.body, hasher);
    case 409:
      return afterConflict(asked, answer);
    case 403:
      return failed('untrusted', `it trusts no key that signed the checkpoint${quoted(answer)}`);
    case 404:
      return failed('unknown_origin', `it does not follow this log${quoted(answer)}`);
    case 422:
      return failed(
        'not_consistent',
        `size ${asked.size} is not proven to continue size ${asked.oldSize}, which it cosigned${quoted(answer)}`,
      );
    default:
      return failed('refused', `it answered with status ${answer.status}${quoted(answer)}`);
  }
}

/** Signatures by other keys are ignored, also those of another key by the same name. */
function cosignatureIn({ key, text, size }: Asked, body: string, hasher: Hasher): NextStep {
  const signatures = parseSignatureLines(body, text);
  if (signatures === null) return failed('malformed_answer', 'its answer is not made of signature lines');
  const keyId = cosignerKeyId(key, hasher);
  const [own] = signaturesBy({ text, signatures }, { name: key.name, keyId });
  if (own === undefined)
    return failed('not_cosigned', `none of its ${signatures.length} signatures is by the key of ${key.name}`);
  const line = signatureLine(own);
  const verdict = verifyCosignatures(`${text}\n${line}`, [key], hasher);
  const [cosignature] = verdict.ok ? verdict.cosignatures : [];
  return cosignature === undefined
    ? failed('not_cosigned', `its cosignature by ${key.name} does not hold for this checkpoint`)
    : { kind: 'cosigned', line, size, timestampSeconds: cosignature.timestampSeconds };
}

function afterConflict({ size, oldSize }: Asked, { contentType, body }: WitnessAnswer): NextStep {
  if (contentType.split(';')[0]?.trim().toLowerCase() !== SIZE_MEDIA_TYPE) {
    return oldSize === size
      ? failed('fork', `it has cosigned another root for size ${size}`)
      : failed('malformed_answer', 'it says that the old size is wrong, and not which one is right');
  }
  const knownSize = parseSize(body);
  if (knownSize === null) return failed('malformed_answer', 'the size it says it knows is none');
  if (knownSize > size)
    return { ...failed('ahead', `it has cosigned size ${knownSize}, beyond ${size}`), knownSize };
  if (knownSize === oldSize) {
    return oldSize === size
      ? failed('fork', `it has cosigned another root for size ${size}`)
      : failed('malformed_answer', `it refuses the old size ${oldSize}, and says it knows that size`);
  }
  return { kind: 'ask_again', oldSize: knownSize };
}

export function failed(reason: WitnessFailureReason, detail: string): WitnessFailure {
  return { kind: 'failed', reason, detail };
}

const QUOTED_CHARACTERS = 200;

/** The witness's own words, as far as a log line can bear them. */
function quoted({ body }: WitnessAnswer): string {
  const words = body.replace(/[\p{C}\s]+/gu, ' ').trim();
  return words === '' ? '' : `: ${words.slice(0, QUOTED_CHARACTERS)}`;
}
