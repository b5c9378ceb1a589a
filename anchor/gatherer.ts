import { setImmediate as turn } from 'node:timers/promises';
import { ALARM_KEYS } from '../control/alarms.ts';
import { type CheckpointRecord, readLastSigned } from '../control/checkpoints.ts';
import { signedFloor } from '../control/floors.ts';
import { partitionOf } from '../control/partition.ts';
import { isSignedBy, logNameOf, type SigningKeys } from '../control/signing-keys.ts';
import { formatTimestamp, MICROS_PER_SECOND, parseTimestamp } from '../core/time.ts';
import { isNativeSignature } from '../infra/ed25519.ts';
import { nativeHasher } from '../infra/hash.ts';
import type { NatsConnection } from '../infra/nats/connect.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { eventsFilter, STREAM_EVENTS } from '../infra/nats/names.ts';
import { lastMessageOfSubject } from '../infra/nats/stream-info.ts';
import { streamEpoch } from '../infra/nats/streams.ts';
import type { WorkspaceEnd } from './batch.ts';
import { type Candidate, candidates, endOf, isLeftOut, type LeftOut, questionOf } from './gather.ts';
import { isFuture, lastPresent } from './period.ts';
import type { AnchorRecords } from './records.ts';
import type { AnchorStore } from './store.ts';

export interface GathererOptions {
  nc: NatsConnection;
  records: Pick<AnchorRecords, 'heads'>;
  store: AnchorStore;
  buckets: { checkpoints: Bucket; floors: Bucket; alarms: Bucket };
  /** Undefined before the first key is made. */
  signingKeys(): Promise<SigningKeys | undefined>;
  logOrigin: string;
  partitions: number;
  now(): number;
}

/** What there is to be anchored. */
export interface Gathered {
  periodEnd: string;
  ends: WorkspaceEnd[];
  leftOut: LeftOut[];
  /** Partitions that were left out, since what they had received was not signed. */
  unsettled: readonly number[];
}

/** The newest message of each partition of EVENTS at some moment. */
export interface Received {
  epoch: string;
  newest: ReadonlyMap<number, number>;
}

export interface Gatherer {
  received(): Promise<Received>;
  /** The partitions in which not everything that had been received is stored and signed. */
  unsettled(received: Received): Promise<number[]>;
  /** Of a period that has ended, without these partitions. */
  until(periodEnd: string, unsettled: readonly number[]): Promise<Gathered>;
  /** Everything that is signed at this moment, whatever else is on its way. */
  ofNow(): Promise<Gathered>;
}

/** Workspaces asked about at a time. */
const CHUNK = 1_000;
/** How long after a midnight an event may be stored that was received before it, and belongs to the day before. */
const LATE_MICROS = 3_600 * MICROS_PER_SECOND;
const BEGINNING = formatTimestamp(0);

export function createGatherer(options: GathererOptions): Gatherer {
  const { buckets, partitions } = options;

  async function everySigned(): Promise<Map<string, CheckpointRecord>> {
    const signed = await readLastSigned(buckets.checkpoints, () => true);
    return new Map([...signed].map(([workspaceId, { record }]) => [workspaceId, record]));
  }

  async function gather(before: string, signed: Map<string, CheckpointRecord>, unsettled: readonly number[]) {
    const stopped = await stoppedWorkspaces(buckets.alarms);
    const grown = candidates(signed, await options.records.heads());
    const wanted = grown.filter(
      ({ workspaceId }) =>
        !stopped.has(workspaceId) && !unsettled.includes(partitionOf(workspaceId, partitions)),
    );
    const ends: WorkspaceEnd[] = [];
    const leftOut = [...stopped].map(stoppedOne);
    const keys = await options.signingKeys();
    for (let at = 0; at < wanted.length; at += CHUNK) {
      const found = await endsOf(options, wanted.slice(at, at + CHUNK), before, keys);
      for (const one of found) {
        if (isLeftOut(one)) leftOut.push(one);
        else ends.push(one);
      }
    }
    leftOut.push(...ofTheFuture(wanted, [...ends, ...leftOut], options.now()));
    return { periodEnd: before, ends, leftOut, unsettled };
  }

  return {
    received: () => received(options),
    unsettled: (before) => unsettledPartitions(options, before),
    until: async (periodEnd, unsettled) => await gather(periodEnd, await everySigned(), unsettled),
    async ofNow() {
      const signed = await everySigned();
      return await gather(momentAfter(options.now(), signed), signed, []);
    },
  };
}

function stoppedOne(workspaceId: string): LeftOut {
  return { workspaceId, why: 'The tree stage has stopped signing its checkpoints.', mayCome: false };
}

/** Their chains go on from the last moment they had, so that nothing they receive is of any day before. */
function ofTheFuture(
  grown: readonly Candidate[],
  found: readonly { workspaceId: string }[],
  nowMs: number,
): LeftOut[] {
  const settled = new Set(found.map(({ workspaceId }) => workspaceId));
  return grown
    .filter(({ workspaceId, signed }) => !settled.has(workspaceId) && isFuture(signed.last_created_at, nowMs))
    .map(({ workspaceId, signed: { last_created_at: at } }) => ({
      workspaceId,
      why: `It has events that were received at ${at}, by a clock that was ahead: they are anchored after that time.`,
      mayCome: false,
    }));
}

/**
 * Now; or just behind the newest event, should the clock of the servers that received it be ahead a little. What one
 * had received that is far ahead must not take the anchors of all others there, behind which none could be made.
 */
function momentAfter(nowMs: number, signed: ReadonlyMap<string, CheckpointRecord>): string {
  const latest = lastPresent(nowMs);
  let newest = formatTimestamp(nowMs * 1000);
  for (const { last_created_at } of signed.values()) {
    if (last_created_at >= newest && last_created_at <= latest) newest = last_created_at;
  }
  return formatTimestamp((parseTimestamp(newest) ?? nowMs * 1000) + 1);
}

async function received({ nc, partitions }: GathererOptions): Promise<Received> {
  const epoch = await streamEpoch(nc);
  const newest = new Map<number, number>();
  for (let partition = 0; partition < partitions; partition += 1) {
    const message = await lastMessageOfSubject(nc, STREAM_EVENTS, eventsFilter(partition));
    if (message !== undefined) newest.set(partition, message.sequence);
  }
  return { epoch, newest };
}

async function unsettledPartitions(
  { buckets }: GathererOptions,
  { epoch, newest }: Received,
): Promise<number[]> {
  const unsettled: number[] = [];
  for (const [partition, sequence] of newest) {
    if ((await signedFloor(buckets.floors, { partition, epoch })) < sequence) unsettled.push(partition);
  }
  return unsettled;
}

async function stoppedWorkspaces(alarms: Bucket): Promise<Set<string>> {
  const prefix = ALARM_KEYS.treeMismatch('');
  const keys = await alarms.keys();
  return new Set(keys.filter((key) => key.startsWith(`${prefix}ws_`)).map((key) => key.slice(prefix.length)));
}

async function endsOf(
  { store, logOrigin }: GathererOptions,
  some: readonly Candidate[],
  before: string,
  keys: SigningKeys | undefined,
): Promise<(WorkspaceEnd | LeftOut)[]> {
  const workspaceIds = some.map(({ workspaceId }) => workspaceId);
  const growths = await store.growths(some.map(questionOf), earliestOf(some), before);
  const notes = await store.notes(new Map([...growths].map(([id, { size }]) => [id, size])));
  const anchored = await store.newestAnchors(workspaceIds);
  const found: (WorkspaceEnd | LeftOut)[] = [];
  for (const candidate of some) {
    const { workspaceId } = candidate;
    const end = endOf(
      candidate,
      {
        growth: growths.get(workspaceId),
        note: notes.get(workspaceId),
        anchored: anchored.get(workspaceId),
      },
      before,
      (note) =>
        keys !== undefined &&
        isSignedBy(keys, logNameOf(logOrigin, workspaceId), note, nativeHasher, isNativeSignature),
      nativeHasher,
    );
    if (end !== undefined) found.push(end);
    // Signatures take their time, and the lease must be renewed meanwhile.
    await turn();
  }
  return found;
}

/** No event behind the anchors of these was received before. */
function earliestOf(some: readonly Candidate[]): string {
  const oldest = some[0]?.previous?.period_end;
  const micros = oldest === undefined ? null : parseTimestamp(oldest);
  return micros === null ? BEGINNING : formatTimestamp(Math.max(0, micros - LATE_MICROS));
}
