import { isDeepStrictEqual } from 'node:util';
import type { AnchorBatch } from '../control/anchors.ts';
import { timestamp } from '../control/record.ts';
import { isConflict } from '../control/workspaces.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Logger } from '../infra/log.ts';
import { attemptOf } from './attempts.ts';
import type { Attempt, Ledger, LedgerPlace, Observation } from './ledger.ts';
import { timestampMs } from './period.ts';
import { type AnchorRecords, changeBatch, type KeptBatch } from './records.ts';
import {
  type Action,
  type StepSettings,
  step,
  withAnotherTry,
  withAttempt,
  withRefusal,
  withSent,
} from './step.ts';

export interface RunnerOptions {
  ledger: Ledger;
  records: Pick<AnchorRecords, 'batches' | 'batch' | 'change'>;
  settings: StepSettings;
  /** For how long after its last change a batch that is confirmed, or failed, is looked at again. */
  recheckMs: number;
  log: Logger;
  now(): number;
}

/**
 * Brings every batch a step further, the oldest first; one at a time is on its way, so that no nonce is fought for.
 * Resolves to what the chain looked like last, if it was looked at. Throws what NATS and the ledger throw when they do
 * not answer: whatever was kept by then is where the next run goes on.
 */
export async function advanceAll(options: RunnerOptions): Promise<Observation | undefined> {
  let seen: Observation | undefined;
  for (const { batch } of await options.records.batches()) {
    if (!isWorthALook(batch, options)) continue;
    const advanced = await advance(options, batch.number);
    seen = advanced?.seen ?? seen;
    // Of one that another process acts for it is not known how it stands: it may take the nonce at this moment.
    if (advanced === undefined || isOnItsWay(advanced.batch)) break;
  }
  return seen;
}

/** What was settled at another contract, or chain, is not for this ledger to judge. */
function isWorthALook(batch: AnchorBatch, { ledger, now, recheckMs }: RunnerOptions): boolean {
  if (!isSettled(batch)) return true;
  return isOf(batch, ledger.place) && now() - timestampMs(batch.updated_at) < recheckMs;
}

function isSettled({ status }: AnchorBatch): boolean {
  return status === 'confirmed' || status === 'failed';
}

function isOnItsWay(batch: AnchorBatch): boolean {
  return !isSettled(batch);
}

function isOf(batch: AnchorBatch, { chainId, contract }: LedgerPlace): boolean {
  const isUntold = batch.attempts.length === 0 && batch.inclusion === null;
  return isUntold || (batch.chain_id === chainId && batch.contract === contract);
}

interface Advanced {
  batch: AnchorBatch;
  seen: Observation;
}

/**
 * One step: look, decide, **keep**, act, keep. What is sent was kept before, so that dying anywhere leaves nothing that
 * the next look does not find. Undefined when another process changed the record meanwhile: it has acted, not this one.
 */
export async function advance(options: RunnerOptions, number: number): Promise<Advanced | undefined> {
  const { ledger, records, settings, now } = options;
  try {
    const kept = await records.batch(number);
    // What was on its way to a former contract, or chain, is begun anew here: nobody waits for it there any more.
    const from = isOf(kept.batch, ledger.place) ? kept.batch : withAnotherTry(kept.batch);
    const seen = await ledger.observe(from.anchor_root, from.attempts.map(attemptOf));
    const { batch, action } = step(from, seen, now(), settings);
    const decided = await keep(options, kept, batch);
    return { batch: (await act(options, decided, action)).batch, seen };
  } catch (error) {
    if (isConflict(error)) return undefined;
    throw error;
  }
}

/** Writes a record that has changed, and what it is part of. */
async function keep(
  { ledger, records, log, now }: RunnerOptions,
  kept: KeptBatch,
  next: AnchorBatch,
): Promise<KeptBatch> {
  const { chainId, contract } = ledger.place;
  const placed: AnchorBatch = { ...next, chain_id: chainId, contract };
  if (isDeepStrictEqual(placed, kept.batch)) return kept;
  const changed = await records.change(kept, { ...placed, updated_at: timestamp(now()) });
  const { number, status, reason } = changed.batch;
  if (status !== kept.batch.status || reason !== kept.batch.reason) {
    log.info({ number, status, reason, tx: txOf(changed.batch) }, 'an anchor went a step further');
  }
  return changed;
}

function txOf({ inclusion, attempts }: AnchorBatch): string | undefined {
  return inclusion?.tx_hash ?? attempts.at(-1)?.tx_hash;
}

async function act(options: RunnerOptions, kept: KeptBatch, action: Action): Promise<KeptBatch> {
  switch (action.kind) {
    case 'sign':
    case 'replace':
      return await signAndSend(options, kept, action);
    case 'send':
      return await send(options, kept, action.attempt);
    case 'wait':
    case 'done':
      return kept;
  }
}

async function signAndSend(
  options: RunnerOptions,
  kept: KeptBatch,
  order: Extract<Action, { kind: 'sign' | 'replace' }>,
): Promise<KeptBatch> {
  let attempt: Attempt;
  try {
    attempt = await options.ledger.sign(kept.batch.anchor_root, { nonce: order.nonce, fees: order.fees });
  } catch (error) {
    if (!(error instanceof ImmutableError) || error.code !== 'validation_failed') throw error;
    const why = [error.message, error.nextStep].filter((part) => part !== undefined).join(' ');
    return await keep(options, kept, withRefusal(kept.batch, why));
  }
  return await send(options, await keep(options, kept, withAttempt(kept.batch, attempt)), attempt);
}

async function send(options: RunnerOptions, kept: KeptBatch, attempt: Attempt): Promise<KeptBatch> {
  const sent = await options.ledger.send(attempt);
  return await keep(options, kept, withSent(kept.batch, attempt.txHash, sent));
}

/** What has failed is begun anew: a person has asked for it. Resolves to how many there are. */
export async function retryFailed({
  records,
  now,
}: {
  records: Pick<AnchorRecords, 'batches' | 'batch' | 'change'>;
  now(): number;
}): Promise<number> {
  const failed = (await records.batches()).filter(({ batch }) => batch.status === 'failed');
  for (const { batch } of failed) {
    await changeBatch(records, batch.number, (latest) =>
      latest.status === 'failed' ? { ...withAnotherTry(latest), updated_at: timestamp(now()) } : latest,
    );
  }
  return failed.length;
}

/** Says of what cannot be sent why not. */
export async function explainPending(
  { records, now }: { records: Pick<AnchorRecords, 'batches' | 'change'>; now(): number },
  reason: string,
): Promise<void> {
  for (const kept of await records.batches()) {
    const { batch } = kept;
    if (batch.status !== 'pending' || batch.reason === reason) continue;
    await records.change(kept, { ...batch, reason, updated_at: timestamp(now()) });
  }
}
