import { utf8Decode } from '../core/bytes.ts';
import { ImmutableError } from '../core/errors.ts';
import type { WitnessRefusal } from '../core/witness.ts';
import { ADD_CHECKPOINT_PATH, encodeSize, SIZE_MEDIA_TYPE } from '../core/witness-message.ts';
import type { HttpResponse, Route } from '../infra/http/types.ts';
import type { Counter } from '../infra/metrics.ts';
import type { Cosigner } from './cosigner.ts';
import type { Keeper } from './keeper.ts';

export interface WitnessRoutesOptions {
  cosigner: Cosigner;
  keeper: Keeper;
  /** As it stands in policies. */
  verifierKey: string;
  answers: Counter<'status'>;
}

/** C2SP tlog-witness, and two questions beside it: who this is, and what it has cosigned last. */
export function witnessRoutes({ cosigner, keeper, verifierKey, answers }: WitnessRoutesOptions): Route[] {
  return [
    {
      method: 'POST',
      path: ADD_CHECKPOINT_PATH,
      handler: async ({ body }) => {
        const answer = await submit(cosigner, body);
        answers.inc({ status: String(answer.status) });
        return answer;
      },
    },
    { method: 'GET', path: '/', handler: () => plainText(200, `${verifierKey}\n`) },
    {
      method: 'GET',
      path: '/checkpoints/:hash',
      handler: async ({ params: { hash = '' } }) => {
        const note = HASH.test(hash) ? await keeper.noteByHash(hash) : null;
        if (note === null)
          throw new ImmutableError('not_found', 'Nothing was cosigned of an origin with that SHA-256.');
        return plainText(200, note);
      },
    },
  ];
}

const HASH = /^[\da-f]{64}$/;

async function submit(cosigner: Cosigner, body: Buffer): Promise<HttpResponse> {
  // What is not UTF-8 is no request either.
  const submission = await cosigner.submit(utf8Decode(body) ?? '');
  return submission.status === 200 ? plainText(200, submission.line) : refusal(submission);
}

function refusal({ status, message, knownSize }: WitnessRefusal): HttpResponse {
  if (knownSize === undefined) return plainText(status, `${message}\n`);
  return { status, headers: { 'Content-Type': SIZE_MEDIA_TYPE }, body: encodeSize(knownSize) };
}

function plainText(status: number, body: string): HttpResponse {
  const headers = { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' };
  return { status, headers, body };
}
