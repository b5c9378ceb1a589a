import { keyId, type SigningKey, signatureLine, signaturesBy } from '../core/checkpoint.ts';
import { cosign } from '../core/cosignature.ts';
import { admit, judge, type WitnessRefusal } from '../core/witness.ts';
import type { ReceivedCheckpoint } from '../core/witness-message.ts';
import { nativeHasher } from '../infra/hash.ts';
import type { Logger } from '../infra/log.ts';
import type { Claim } from '../infra/process/claim.ts';
import type { Keeper, Kept } from './keeper.ts';
import { keysOf, type TrustedLogs } from './trusted-logs.ts';
import { createTurns } from './turns.ts';

/** Cosigns what continues all it has cosigned before. */
export interface Cosigner {
  /** Answers an add-checkpoint request. */
  submit(body: string): Promise<Submission>;
}

export type Submission =
  /** `line`: the cosignature, newline included. */
  { status: 200; line: string } | WitnessRefusal;

export interface CosignerOptions {
  key: SigningKey;
  trusted: TrustedLogs;
  keeper: Keeper;
  claim: Claim;
  nowMs: () => number;
  log: Logger;
}

export function createCosigner({ key, trusted, keeper, claim, nowMs, log }: CosignerOptions): Cosigner {
  const turns = createTurns();
  const keysOfOrigin = (origin: string) => keysOf(trusted, origin);

  /** Only one at a time for an origin: what is known must not change between the judgement and the write. */
  async function decide(request: ReceivedCheckpoint): Promise<Submission> {
    const { origin } = request.checkpoint;
    const latest = await keeper.latest(origin);
    const judgement = judge(request, latest?.checkpoint ?? null, nativeHasher);
    if (!judgement.ok) {
      reportMisbehaviour(judgement, request, latest);
      return judgement;
    }
    const { checkpoint, opened } = request;
    const line = cosign(opened.text, key, Math.floor(nowMs() / 1000), nativeHasher);
    claim.check();
    // Also when the checkpoint is the one that is kept: its write may have been the one that failed half-way.
    await keeper.keep({ checkpoint, note: `${opened.text}\n${logSignatures(request)}${line}` });
    claim.check();
    return { status: 200, line };
  }

  /** Of its signatures those that were verified. */
  function logSignatures({ opened, checkpoint }: ReceivedCheckpoint): string {
    return keysOfOrigin(checkpoint.origin)
      .flatMap((logKey) => signaturesBy(opened, { name: logKey.name, keyId: keyId(logKey, nativeHasher) }))
      .map(signatureLine)
      .join('');
  }

  /** Two notes that a log signed and that do not belong together are the proof against it: both are logged. */
  function reportMisbehaviour(
    { status, knownSize }: WitnessRefusal,
    { note, checkpoint }: ReceivedCheckpoint,
    latest: Kept | null,
  ): void {
    const facts = { origin: checkpoint.origin, submitted: note, cosigned: latest?.note };
    if (status === 409 && knownSize === undefined)
      log.error(facts, 'the log signed two roots for one size: it shows different people different logs');
    else if (status === 422)
      log.warn(facts, 'not proven to continue what was cosigned last; it may be a wrong proof, or a fork');
  }

  return {
    async submit(body) {
      const admission = admit(body, keysOfOrigin, nativeHasher);
      if (!admission.ok) return admission;
      const { request } = admission;
      return await turns.take(request.checkpoint.origin, () => decide(request));
    },
  };
}
