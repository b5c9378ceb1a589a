import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.ts';

const REQUEST_TIMEOUT_MS = 40_000;
const BULKY_BYTES = 20_000;
/** Share of keyed sends that repeat a key acknowledged before. */
const REPEATED_KEYS = 0.15;

/** What the clients were told, to be held against what is stored. */
export interface Ledger {
  /** Every event that got a 202, by its id. */
  acknowledged: Map<string, Acknowledged>;
  /** Every key that was ever sent, with its id once one was acknowledged: at most one record each. */
  keys: Map<string, string | undefined>;
  /** Answers that no fault excuses: a 4xx, or another id for the same key. */
  wrong: string[];
  requests: number;
  /** Requests that failed in a way a fault excuses: no connection, no answer, 5xx. */
  failures: number;
}

export interface Acknowledged {
  workspaceId: string;
  /** Names the event; stored as its `resource_id`. */
  marker: string;
  key?: string | undefined;
  /** The request that carried it and its place there, if it cannot have been stored by an earlier one. */
  request?: string;
  place?: number;
}

export interface Target {
  /** Asked at every request, since an edge may come back on another port. */
  baseUrl(): string;
  workspaceId: string;
  apiKey: string;
}

export function createLedger(): Ledger {
  return { acknowledged: new Map(), keys: new Map(), wrong: [], requests: 0, failures: 0 };
}

export interface Clients {
  /** Lets each client finish the event it is on: keyed ones are repeated until they are acknowledged. */
  stop(): Promise<void>;
}

/**
 * Clients that send keyed and unkeyed events, singly and in batches, to all targets, until stopped. A
 * keyed event is repeated with its key until a 202; an unkeyed one is sent once, and counts only if it
 * got a 202, since nobody can know what became of it otherwise.
 */
export function startClients(options: {
  targets: readonly [Target, ...Target[]];
  /** Where it is written down; several runs may share one. */
  ledger: Ledger;
  clients: number;
  random: Random;
  /** Tells the events of several runs on one stack apart. */
  run: string;
  /** Gives everything up, answered or not. */
  signal: AbortSignal;
}): Clients {
  const { ledger, signal } = options;
  let stopping = false;
  const work = async (client: number) => {
    for (let turn = 0; !stopping && !signal.aborted; turn += 1) {
      const target = options.random.oneOf(options.targets);
      const name = `${options.run}-${client}-${turn}`;
      const attempts = someEvents(target, name, options.random, ledger);
      await sendUntilKnown(target, attempts, { ledger, random: options.random, signal });
      await sleep(options.random.between(0, 20));
    }
  };
  const working = Array.from({ length: options.clients }, (_, client) => work(client));
  return {
    async stop() {
      stopping = true;
      await Promise.all(working);
    },
  };
}

interface Attempt {
  event: Record<string, unknown>;
  marker: string;
  key: string | undefined;
  /** Not sent before, so its place in the chain is that in this request. */
  isNew: boolean;
}

/** One event, or a batch of up to 20; about half of them keyed, some with a key that is stored already. */
function someEvents(target: Target, name: string, random: Random, ledger: Ledger): Attempt[] {
  const size = random.chance(0.6) ? 1 : random.between(2, 20);
  return Array.from({ length: size }, (_, place) => {
    const known = random.chance(REPEATED_KEYS) ? someKnown(ledger, target, random) : undefined;
    const marker = known?.marker ?? `${name}-${place}`;
    const key = known?.key ?? (random.chance(0.5) ? `key-${marker}` : undefined);
    const event: Record<string, unknown> = {
      actor_id: `client-${name}`,
      action: 'fault.tested',
      resource: 'attempt',
      resource_id: marker,
      ...(key === undefined ? {} : { idempotency_key: key }),
      ...(random.chance(0.02) ? { metadata: { bulk: 'x'.repeat(BULKY_BYTES) } } : {}),
    };
    return { event, marker, key, isNew: known === undefined };
  });
}

/** One of the keys acknowledged first, so that it has left the memories it might be found in. */
function someKnown(ledger: Ledger, target: Target, random: Random): Acknowledged | undefined {
  let skip = random.between(0, 200);
  for (const known of ledger.acknowledged.values()) {
    if (known.key === undefined || known.workspaceId !== target.workspaceId) continue;
    if (skip === 0) return known;
    skip -= 1;
  }
  return undefined;
}

/** Sends until nothing is left that may be repeated. */
async function sendUntilKnown(
  target: Target,
  attempts: Attempt[],
  { ledger, random, signal }: { ledger: Ledger; random: Random; signal: AbortSignal },
): Promise<void> {
  let left = attempts;
  for (const { key } of attempts) if (key !== undefined) ledger.keys.set(key, ledger.keys.get(key));
  while (left.length > 0 && !signal.aborted) {
    const outcome = await post(target, left, ledger);
    if (outcome !== 'failed') {
      record(target, left, outcome, ledger);
      return;
    }
    left = left.filter(({ key }) => key !== undefined).map((attempt) => ({ ...attempt, isNew: false }));
    await sleep(random.between(50, 250));
  }
}

/** The id of each event, in order, or `failed` where it may or may not have been stored. */
async function post(target: Target, attempts: Attempt[], ledger: Ledger): Promise<string[] | 'failed'> {
  const [first] = attempts;
  const single = attempts.length === 1 && first !== undefined;
  const url = `${target.baseUrl()}/api/v1/events${single ? '' : '/batch'}`;
  ledger.requests += 1;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(single ? first.event : { events: attempts.map(({ event }) => event) }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.status === 202) return idsIn(text);
    if (response.status < 500) ledger.wrong.push(`answered ${response.status}: ${text.slice(0, 300)}`);
    ledger.failures += 1;
    return response.status < 500 ? [] : 'failed';
  } catch {
    ledger.failures += 1;
    return 'failed';
  }
}

function idsIn(text: string): string[] {
  const answer = JSON.parse(text) as { id?: string; events?: { id?: string }[] };
  return (answer.events ?? [answer]).map(({ id }) => id ?? '');
}

function record(target: Target, attempts: Attempt[], ids: string[], ledger: Ledger): void {
  const { workspaceId } = target;
  const request = randomUUID();
  for (const [place, { marker, key, isNew }] of attempts.entries()) {
    const id = ids[place];
    if (id === undefined || id === '') {
      ledger.wrong.push(`no id for ${marker}`);
      continue;
    }
    const before = key === undefined ? undefined : ledger.keys.get(key);
    if (before !== undefined && before !== id) ledger.wrong.push(`key ${key} got ${before}, then ${id}`);
    if (key === undefined && ledger.acknowledged.has(id)) ledger.wrong.push(`id ${id} was given twice`);
    if (key !== undefined) ledger.keys.set(key, id);
    if (ledger.acknowledged.has(id)) continue;
    ledger.acknowledged.set(id, { workspaceId, marker, key, ...(isNew ? { request, place } : {}) });
  }
}
