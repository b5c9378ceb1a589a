import { isSatisfied, type Policy, type PolicyWitness } from '../../core/policy.ts';
import { consistencyRanges, rangeHashes, tileKey, tilesOf } from '../../core/tile.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { Logger } from '../../infra/log.ts';
import type { SignedCheckpoint, TreeStore } from './store.ts';
import type { WitnessFailure } from './witness-answer.ts';
import { submitCheckpoint } from './witness-client.ts';

export interface WitnessesOptions {
  policy: Policy;
  store: Pick<TreeStore, 'tiles' | 'writeCheckpoints' | 'newestCheckpoint'>;
  /** A witness found that this log is not the one it knows: somebody was shown another. */
  onFork(checkpoint: SignedCheckpoint, witness: string, failure: WitnessFailure): Promise<void>;
  onCosigned(workspaceId: string, cosignatures: number, isWitnessed: boolean): void;
  log: Logger;
  timing?: Partial<WitnessTiming>;
}

export interface WitnessTiming {
  requestTimeoutMs: number;
  firstRetryMs: number;
  longestRetryMs: number;
}

const TIMING: WitnessTiming = { requestTimeoutMs: 10_000, firstRetryMs: 2_000, longestRetryMs: 60_000 };

/** Has checkpoints cosigned, the newest of each workspace; nothing waits for it. */
export interface Witnesses {
  offer(signed: readonly SignedCheckpoint[]): void;
  /** Those that may have been signed before a process ended and not been seen by all witnesses. */
  offerUnlessWitnessed(signed: readonly SignedCheckpoint[]): void;
  stop(): void;
}

const WORKSPACES_AT_A_TIME = 16;

interface WitnessWithUrl extends PolicyWitness {
  url: string;
}

/**
 * Witnesses of the policy that have a URL are asked side by side. What they sign goes below the note in the table of
 * checkpoints, and once the quorum is there the checkpoint counts as witnessed. A witness that does not answer is
 * asked again, with whatever is the newest checkpoint by then. What is known of them is only how far each has
 * cosigned, in memory: a lost number costs one request more.
 */
export function startWitnesses(options: WitnessesOptions): Witnesses {
  const { policy, store, log } = options;
  const timing = { ...TIMING, ...options.timing };
  const witnesses = policy.witnesses.filter(
    (witness): witness is WitnessWithUrl => witness.url !== undefined,
  );
  const waiting = new Map<string, Round>();
  const working = new Set<string>();
  const failures = new Map<string, number>();
  const cosignedSizes = new Map<string, number>();
  const timers = new Set<NodeJS.Timeout>();
  let stopped = false;

  function workOn(): void {
    for (const [workspaceId, round] of waiting) {
      if (stopped || working.size >= WORKSPACES_AT_A_TIME) return;
      if (working.has(workspaceId)) continue;
      waiting.delete(workspaceId);
      working.add(workspaceId);
      void witness(workspaceId, round)
        .catch((err: unknown) => {
          log.warn({ err, workspaceId }, 'a checkpoint could not be witnessed now');
          askAgainLater(workspaceId, round);
        })
        .finally(() => {
          working.delete(workspaceId);
          workOn();
        });
    }
  }

  async function witness(workspaceId: string, round: Round): Promise<void> {
    if (await round.isDone()) return;
    const { checkpoint, lines } = round;
    const missing = witnesses.filter(({ name }) => !lines.has(name));
    const before = lines.size;
    await Promise.all(
      missing.map(async (one) => {
        const line = await ask(one, checkpoint);
        if (line !== undefined) lines.set(one.name, line);
      }),
    );
    const isWitnessed = isSatisfied(policy.quorum, new Set(lines.keys()));
    options.onCosigned(workspaceId, lines.size - before, isWitnessed);
    if (lines.size > before || isWitnessed) {
      const note = checkpoint.note + [...lines.values()].join('');
      await store.writeCheckpoints([{ ...checkpoint, note, cosignatures: lines.size, isWitnessed }]);
    }
    if (lines.size === witnesses.length) failures.delete(workspaceId);
    else askAgainLater(workspaceId, round);
  }

  /** The line of its cosignature, if it gives one. */
  async function ask(one: WitnessWithUrl, checkpoint: SignedCheckpoint): Promise<string | undefined> {
    const { workspaceId, note } = checkpoint;
    const key = `${workspaceId} ${one.name}`;
    const answer = await submitCheckpoint({
      witness: { key: one.key, url: one.url },
      note,
      rememberedSize: cosignedSizes.get(key) ?? 0,
      proofFrom: (oldSize, size) => consistencyProof(store, workspaceId, oldSize, size),
      timeoutMs: timing.requestTimeoutMs,
    });
    if (answer.kind === 'cosigned') {
      cosignedSizes.set(key, answer.size);
      return answer.line;
    }
    const { reason, detail } = answer;
    log.warn({ workspaceId, witness: one.name, reason, detail }, 'a witness did not cosign a checkpoint');
    const isFork = FORKS.has(reason) || (reason === 'ahead' && !waiting.has(workspaceId));
    if (isFork) await options.onFork(checkpoint, one.name, answer);
    return undefined;
  }

  /** Only those who have not cosigned it yet; unless there is a newer one by then, which is as good. */
  function askAgainLater(workspaceId: string, round: Round): void {
    const count = failures.get(workspaceId) ?? 0;
    failures.set(workspaceId, count + 1);
    const retryMs = Math.min(timing.firstRetryMs * 2 ** Math.min(count, 10), timing.longestRetryMs);
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (!waiting.has(workspaceId) && !working.has(workspaceId)) waiting.set(workspaceId, round);
      workOn();
    }, retryMs);
    timer.unref();
    timers.add(timer);
  }

  function roundOf(checkpoint: SignedCheckpoint, isDone: Round['isDone']): Round {
    return { checkpoint, lines: new Map(), isDone };
  }

  return {
    offer(signed) {
      for (const checkpoint of signed) {
        waiting.set(
          checkpoint.workspaceId,
          roundOf(checkpoint, async () => false),
        );
      }
      workOn();
    },
    offerUnlessWitnessed(signed) {
      for (const checkpoint of signed) {
        const { workspaceId, size } = checkpoint;
        if (waiting.has(workspaceId)) continue;
        const isDone = async () => {
          const newest = await store.newestCheckpoint(workspaceId);
          return newest?.size === size && newest.cosignatures === witnesses.length && newest.isWitnessed;
        };
        waiting.set(workspaceId, roundOf(checkpoint, isDone));
      }
      workOn();
    },
    stop() {
      stopped = true;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

/** A checkpoint on its way to the witnesses. */
interface Round {
  checkpoint: SignedCheckpoint;
  /** The cosignatures it has so far, by witness. */
  lines: Map<string, string>;
  isDone(): Promise<boolean>;
}

const FORKS: ReadonlySet<string> = new Set(['fork', 'not_consistent']);

async function consistencyProof(
  store: Pick<TreeStore, 'tiles'>,
  workspaceId: string,
  oldSize: number,
  size: number,
): Promise<Uint8Array[]> {
  const ranges = consistencyRanges(oldSize, size);
  const tiles = await store.tiles(workspaceId, tilesOf(ranges, size));
  return rangeHashes(ranges, new Map(tiles.map((tile) => [tileKey(tile), tile.hashes])), nativeHasher);
}
