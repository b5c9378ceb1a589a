import { ImmutableError } from '../core/errors.ts';
import type { Logger } from '../infra/log.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import type { PublishBatch } from './committer.ts';

/** Whether this edge may promise that an event is safe. */
export interface Gate {
  /** Why events of this partition cannot be taken now; undefined when they can. */
  refusal(partition: number): ImmutableError | undefined;
  /** What keeps this edge from taking any event, one sentence each. */
  problems(): string[];
  stop(): Promise<void>;
}

export interface GateOptions {
  /** Of the NATS connection. */
  connection: {
    connected(): boolean;
    onRestored(listener: () => void): () => void;
  };
  /** Throws unless every NATS server syncs before it acknowledges. */
  checkSync(): Promise<void>;
  /** What the stream has lost of what it acknowledged. */
  streamProblem(): Promise<string | undefined>;
  /** How far JetStream's clock is ahead of ours. */
  clockSkewMs(): Promise<number>;
  /** Has `partition.<n>` while the chain of that partition is stopped. */
  alarms: Pick<Bucket, 'watch'>;
  log: Logger;
  retryMs?: number;
  storeCheckMs?: number;
}

const MAX_SKEW_MS = 5_000;
const RETRY_AFTER_SECONDS = 5;
/** A clock may jump, and a stream be restored, while nothing reconnects. */
const STORE_CHECK_MS = 10_000;
/** After a restart NATS needs a moment before it can answer. */
const RETRY_MS = 500;

/**
 * Watches what an edge's promise rests on: a connected NATS that syncs always and has all it acknowledged, a
 * clock near JetStream's, a chain that follows the stream. Checks at start and after each reconnection, until
 * a check has passed; events are refused until then. Resolves after the first check, whatever came of it.
 */
export async function watchGate(options: GateOptions): Promise<Gate> {
  const { connection, log } = options;
  const stoppedPartitions = new Set<number>();
  let found: string | undefined = 'The event store has not been checked yet.';
  let latestCheck = 0;

  function settle(problem: Problem | undefined): void {
    if (problem !== undefined && problem.shown !== found) {
      log.error({ err: problem.cause, problem: problem.shown }, 'refusing events');
    }
    if (problem === undefined && found !== undefined) log.info('taking events');
    found = problem?.shown;
  }

  async function check(number: number): Promise<void> {
    const problem = (await syncProblem(options)) ?? (await storeProblem(options));
    if (number !== latestCheck) return;
    settle(problem);
    if (problem !== undefined) setTimeout(() => void checkAgain(number), options.retryMs ?? RETRY_MS);
  }

  async function checkAgain(number: number): Promise<void> {
    if (number === latestCheck && connection.connected()) await check(number);
  }

  async function checkStore(): Promise<void> {
    if (found !== undefined || !connection.connected()) return;
    const number = latestCheck;
    const problem = await storeProblem(options);
    // One slow answer is no reason to refuse events: a lost connection is seen in another way.
    if (number === latestCheck && problem?.cause === undefined) settle(problem);
    if (found !== undefined) await checkAgain(number);
  }

  const forgetRestored = connection.onRestored(() => {
    found = 'The event store has not been checked since it was reached again.';
    latestCheck += 1;
    void check(latestCheck);
  });
  const stopWatching = await options.alarms.watch((key, entry) =>
    noteAlarm(stoppedPartitions, key, entry !== undefined),
  );
  await check(latestCheck);
  const timer = setInterval(() => void checkStore(), options.storeCheckMs ?? STORE_CHECK_MS);

  function problem(): string | undefined {
    return connection.connected() ? found : 'The event store cannot be reached.';
  }

  return {
    refusal: (partition) => {
      const reason = problem() ?? (stoppedPartitions.has(partition) ? CHAIN_STOPPED : undefined);
      if (reason === undefined) return undefined;
      return new ImmutableError('unavailable', `Events cannot be accepted now. ${reason}`, {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
    },
    problems: () => {
      const reason = problem();
      return reason === undefined ? [] : [reason];
    },
    stop: async () => {
      latestCheck = -1;
      clearInterval(timer);
      forgetRestored();
      await stopWatching();
    },
  };
}

/**
 * What was taken before the gate closed is repeated when NATS is back, and an acknowledgement of a server that
 * was not checked yet proves nothing: each attempt asks the gate too.
 */
export function publishWhileOpen(gate: Pick<Gate, 'problems'>, publish: PublishBatch): PublishBatch {
  return async (messages) => {
    const [problem] = gate.problems();
    return problem === undefined ? await publish(messages) : { kind: 'unknown', reason: problem };
  };
}

interface Problem {
  /** A sentence without addresses: clients read it too. */
  shown: string;
  /** Of a check that could not be made. */
  cause?: unknown;
}

async function syncProblem({ checkSync }: GateOptions): Promise<Problem | undefined> {
  try {
    await checkSync();
    return undefined;
  } catch (cause) {
    return {
      shown: 'The event store may not keep what it acknowledges; the log of this server says more.',
      cause,
    };
  }
}

async function storeProblem({ streamProblem, clockSkewMs }: GateOptions): Promise<Problem | undefined> {
  try {
    const lost = await streamProblem();
    if (lost !== undefined) return { shown: lost };
    const seconds = Math.abs(await clockSkewMs()) / 1000;
    if (seconds * 1000 <= MAX_SKEW_MS) return undefined;
    return { shown: `The clocks of this server and of the event store are ${Math.round(seconds)} s apart.` };
  } catch (cause) {
    return { shown: 'The event store does not answer.', cause };
  }
}

const CHAIN_STOPPED = 'The chain they belong to is stopped until an operator has looked at it.';
const STOPPED_PARTITION = /^partition\.(\d+)$/;

function noteAlarm(stopped: Set<number>, key: string, raised: boolean): void {
  const partition = STOPPED_PARTITION.exec(key)?.[1];
  if (partition === undefined) return;
  if (raised) stopped.add(Number(partition));
  else stopped.delete(Number(partition));
}
