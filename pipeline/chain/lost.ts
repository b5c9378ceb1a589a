import { ALARM_KEYS, raiseAlarm } from '../../control/alarms.ts';
import type { Hasher } from '../../core/hash.ts';
import type { Crc32 } from '../../core/message.ts';
import type { Logger } from '../../infra/log.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import { STREAM_EVENTS } from '../../infra/nats/names.ts';
import { type StreamState, streamState } from '../../infra/nats/stream-info.ts';
import { streamEpoch } from '../../infra/nats/streams.ts';
import { type Operator, tellOperator } from './operator.ts';
import { lostMessagesEvent } from './own-events.ts';

/** Sequences of messages that were in EVENTS and are gone, first and last included. */
export interface LostRange {
  first: number;
  last: number;
  reason: 'deleted' | 'unreadable';
}

/**
 * What the broker itself says it lost. Nothing of this product deletes single messages, and what is purged
 * lies below the first sequence; so every gap above that was a message once.
 */
export function lostRanges(
  state: Pick<StreamState, 'firstSequence' | 'deletedSequences' | 'lostSequences'>,
): LostRange[] {
  const unreadable = state.lostSequences.filter((sequence) => sequence >= state.firstSequence);
  const known = new Set(unreadable);
  const deleted = state.deletedSequences.filter(
    (sequence) => sequence >= state.firstSequence && !known.has(sequence),
  );
  return [...ranges(deleted, 'deleted'), ...ranges(unreadable, 'unreadable')];
}

function ranges(sequences: readonly number[], reason: LostRange['reason']): LostRange[] {
  const found: LostRange[] = [];
  for (const sequence of [...sequences].sort((a, b) => a - b)) {
    const open = found[found.length - 1];
    if (open !== undefined && sequence <= open.last + 1) open.last = sequence;
    else found.push({ first: sequence, last: sequence, reason });
  }
  return found;
}

export interface LostOptions {
  nc: NatsConnection;
  alarms: Bucket;
  operator: Operator;
  log: Logger;
  crc32: Crc32;
  hasher: Hasher;
}

/**
 * Raises the alarm for every gap it has not told of, and puts an event for each into the operator's
 * chain: whose events they were, nobody can say. After a restart it tells again, and the events, being
 * keyed, are dropped as known.
 */
export function createLossReporter(options: LostOptions): () => Promise<void> {
  const told = new Set<string>();
  return async () => {
    const epoch = await streamEpoch(options.nc);
    const state = await streamState(options.nc, STREAM_EVENTS);
    for (const range of lostRanges(state)) {
      const name = `${epoch}:${range.first}-${range.last}`;
      if (told.has(name)) continue;
      await report(options, epoch, range);
      told.add(name);
    }
  };
}

async function report(options: LostOptions, epoch: string, range: LostRange): Promise<void> {
  const nowMs = Date.now();
  const { workspaceId } = options.operator;
  options.log.error({ alarm: true, ...range }, 'messages are missing from EVENTS');
  await raiseAlarm(options.alarms, ALARM_KEYS.messagesLost, {
    message: `Messages ${range.first} to ${range.last} are missing from the stream ${STREAM_EVENTS}.`,
    next_step: 'Look into the disk and the log of the NATS server; events in these messages may be lost.',
    details: { epoch, ...range },
  });
  const event = lostMessagesEvent(
    { operatorWorkspaceId: workspaceId, epoch, ...range, foundAtMicros: nowMs * 1000 },
    options.hasher,
  );
  await tellOperator(options.nc, options.operator, event, nowMs * 1000, options.crc32);
}
