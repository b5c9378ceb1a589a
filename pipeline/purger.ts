import { DeliverPolicy, jetstream } from '@nats-io/jetstream';
import type { NatsConnection } from '../infra/nats/connect.ts';
import { ALL_EVENTS, eventsFilter, STREAM_EVENTS } from '../infra/nats/names.ts';
import { lastMessageOfSubject, purgeBelow, streamState } from '../infra/nats/stream-info.ts';
import { streamEpoch } from '../infra/nats/streams.ts';
import { type PartitionFloor, purgeBelowSequence } from './purge.ts';

/** Up to which sequence a stage is done with a partition of this life of EVENTS; 0 when it cannot tell. */
export type FloorSource = (source: { partition: number; epoch: string }) => Promise<number>;

export interface PurgerOptions {
  nc: NatsConnection;
  partitions: number;
  /** One for each stage that must be done with a message before it may go. */
  floorSources: readonly FloorSource[];
  /** For how long messages stay that could go, while the stream is under half its limit. */
  keepMs: number;
}

/** Removes from EVENTS what is done with; resolves to the number of messages removed. */
export async function purgeOnce(options: PurgerOptions): Promise<number> {
  const { nc } = options;
  const epoch = await streamEpoch(nc);
  const state = await streamState(nc, STREAM_EVENTS);
  const partitions: PartitionFloor[] = [];
  for (let partition = 0; partition < options.partitions; partition++) {
    partitions.push(await partitionFloor(options, { partition, epoch }));
  }
  const firstYoungSequence = await firstSequenceSince(
    nc,
    Date.now() - options.keepMs,
    state.lastSequence + 1,
  );
  const below = purgeBelowSequence({ state, partitions, firstYoungSequence });
  return below === undefined ? 0 : await purgeBelow(nc, below);
}

async function partitionFloor(
  { nc, floorSources }: PurgerOptions,
  source: { partition: number; epoch: string },
): Promise<PartitionFloor> {
  const newest = await lastMessageOfSubject(nc, STREAM_EVENTS, eventsFilter(source.partition));
  const floors = await Promise.all(floorSources.map((floorOf) => floorOf(source)));
  return { floors, newest: newest?.sequence ?? 0 };
}

/** The sequence of the first message stored since then, `otherwise` when there is none. */
async function firstSequenceSince(nc: NatsConnection, sinceMs: number, otherwise: number): Promise<number> {
  const consumer = await jetstream(nc).consumers.get(STREAM_EVENTS, {
    filter_subjects: [ALL_EVENTS],
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: new Date(sinceMs).toISOString(),
    headers_only: true,
  });
  try {
    if ((await consumer.info(true)).num_pending === 0) return otherwise;
    const first = await consumer.next({ expires: 2_000 });
    return first?.seq ?? 0;
  } finally {
    await consumer.delete().catch(() => false);
  }
}
