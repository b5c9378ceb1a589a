import { ALARM_KEYS, type Alarm } from '../control/alarms.ts';
import type { AnchorBatch } from '../control/anchors.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Gathered } from './gatherer.ts';
import type { Observation } from './ledger.ts';
import { isFuture, newestDueEnd, periodName, timestampMs } from './period.ts';

/** What a person must see to. Times of the day are UTC. */

export type WantedAlarm = Omit<Alarm, 'raised_at'>;

/** After the end of its period: an anchor that is not confirmed by then is late. */
export const LATE_AFTER_MS = 6 * 3600_000;
/** Anchors that the account must be able to pay for at the present fee. */
export const LOW_BALANCE_ANCHORS = 30n;
/** Of those that are named in an alarm. */
const NAMED = 20;

export interface Standing {
  batches: readonly AnchorBatch[];
  /** What the chain looked like last; undefined where none is configured, or none has answered yet. */
  seen: Observation | undefined;
  hasChain: boolean;
  /** The newest midnight up to which everything that could be was made. */
  madeUntil: string;
  nowMs: number;
}

/** The alarms that can be told of, each with what it should say; undefined for one that is mended, or never was. */
export function standingAlarms(standing: Standing): Map<string, WantedAlarm | undefined> {
  const alarms = new Map<string, WantedAlarm | undefined>([
    [ALARM_KEYS.anchorFailed, failure(standing)],
    [ALARM_KEYS.anchorLate, lateness(standing)],
  ]);
  // An account that could not be looked at is not one that has enough.
  if (standing.seen !== undefined || !standing.hasChain)
    alarms.set(ALARM_KEYS.anchorBalance, poverty(standing));
  return alarms;
}

/** The job must not go on by itself: what it found would only be made worse. */
export function stoppage(error: unknown): WantedAlarm | undefined {
  if (!(error instanceof ImmutableError) || error.disposition !== 'stop') return undefined;
  const { message, nextStep = 'The log of the role `anchor` says more.', details = {} } = error;
  return { message, next_step: nextStep, details };
}

function failure({ batches }: Standing): WantedAlarm | undefined {
  const failed = batches.filter(({ status }) => status === 'failed');
  const [first] = failed;
  if (first === undefined) return undefined;
  return {
    message: `The anchor of ${periodName(first.period_end)} failed: ${first.reason ?? ''}`,
    next_step:
      'Is the account of IMMUTABLE_ANCHOR_PRIVATE_KEY allowed to submit to the contract? Then `immutable anchor run` tries again.',
    details: { periods: failed.map(({ period_end }) => period_end).slice(0, NAMED) },
  };
}

/** Without a chain nothing is late: it was not asked for. */
function lateness({ batches, hasChain, madeUntil, nowMs }: Standing): WantedAlarm | undefined {
  const last = batches.at(-1)?.period_end ?? '';
  if (last !== '' && isFuture(last, nowMs)) {
    return {
      message: `Anchors reach to ${last}, which the clock has not: until then no other is made.`,
      next_step:
        'Is the clock of this machine right? Then the one that anchored last was wrong, and what comes in is anchored after that time only.',
      details: { period_end: last },
    };
  }
  const isLate = (periodEnd: string) => nowMs - timestampMs(periodEnd) > LATE_AFTER_MS;
  const due = newestDueEnd(nowMs);
  const isMade = due <= madeUntil || batches.some(({ period_end }) => period_end >= due);
  if (!isMade && isLate(due)) {
    return {
      message: `The anchor of ${periodName(due)} is not made 6 hours after its end.`,
      next_step: 'The log of the role `anchor` says why: it needs NATS and ClickHouse.',
      details: { period_end: due },
    };
  }
  const late = batches.find(({ status, period_end }) => status !== 'confirmed' && isLate(period_end));
  if (late === undefined || !hasChain) return undefined;
  return {
    message: `The anchor of ${periodName(late.period_end)} is not confirmed 6 hours after its period: it is ${late.status}.`,
    next_step: late.reason ?? 'Do the endpoints of IMMUTABLE_ANCHOR_RPC_URL answer?',
    details: { period_end: late.period_end, status: late.status },
  };
}

function poverty({ seen }: Standing): WantedAlarm | undefined {
  if (seen === undefined || seen.balanceWei >= costOfAnchors(seen)) return undefined;
  return {
    message: `The account that pays for anchors has ${ether(seen.balanceWei)} ETH left: not enough for ${LOW_BALANCE_ANCHORS} anchors at the present fee.`,
    next_step: `Send it ${ether(costOfAnchors(seen) - seen.balanceWei)} ETH or more.`,
    details: { balance_wei: String(seen.balanceWei), fee_wei: String(feeOf(seen)) },
  };
}

function costOfAnchors(seen: Observation): bigint {
  return LOW_BALANCE_ANCHORS * feeOf(seen);
}

/** What an anchor costs at most at the present fee. */
export function feeOf({ gas, fees }: Observation): bigint {
  return gas * fees.maxFeePerGas;
}

function ether(wei: bigint): string {
  return (Number(wei) / 1e18).toPrecision(3);
}

/** Workspaces that grew and are in no anchor yet; the next one has them, if it can. */
export function incompleteness({ leftOut, unsettled, periodEnd }: Gathered): WantedAlarm | undefined {
  if (leftOut.length === 0 && unsettled.length === 0) return undefined;
  const partitions =
    unsettled.length === 0
      ? ''
      : ` What partitions ${unsettled.join(', ')} had received was not signed in time.`;
  return {
    message: `The anchor of ${periodName(periodEnd)} is without ${leftOut.length} workspaces.${partitions}`,
    next_step:
      'See to the alarms and logs of the chain and tree stages. What is left out becomes part of the next anchor once its checkpoints are signed.',
    details: {
      period_end: periodEnd,
      partitions: [...unsettled],
      workspaces: leftOut.slice(0, NAMED).map(({ workspaceId, why }) => ({ workspace_id: workspaceId, why })),
    },
  };
}
