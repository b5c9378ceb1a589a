/** What one run of the load generator does. */
export interface LoadPlan {
  host: string;
  port: number;
  /** `/api/v1/events` or its batch twin. */
  path: string;
  /** One API key for each workspace; requests go to them in turn. */
  apiKeys: string[];
  connections: number;
  /** 0: one event a request, as the body itself; else that many in an `events` array. */
  batchSize: number;
  /** Time before the figures count: compilers, caches and connections settle. */
  warmupMs: number;
  measureMs: number;
  /** Events a second to hold, however slow the answers; without it every connection sends as fast as it is answered. */
  eventsPerSecond?: number;
  /** Most events sent beyond what the parent reported as stored; without it there is no bound. */
  maxBacklog?: number;
}

export interface LoadResult {
  /** Acknowledged in the measured time. */
  events: number;
  requests: number;
  seconds: number;
  /** From sending (with a rate: from when it was due) to the complete answer. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  /** All events acknowledged, those of the warm-up included. */
  totalEvents: number;
}

export type ToGenerator = { kind: 'run'; plan: LoadPlan } | { kind: 'stored'; events: number };
export type FromGenerator =
  | { kind: 'measuring' }
  | { kind: 'done'; result: LoadResult }
  | { kind: 'failed'; reason: string };
