import type { LoadPlan } from './plan.ts';

/** Decides when the next request is due. */
export interface Schedule {
  start(): void;
  /** Takes the next request: the time it was due, or undefined while none is. */
  takeDue(now: number): number | undefined;
  /** How many events are stored by now, for a plan with a bound on what is not. */
  stored(events: number): void;
  stop(): void;
}

/**
 * Without a rate a request is due whenever a connection is free. With one, requests are due at evenly
 * spaced times that do not move when the server is slow: a stall must not hide the requests it delayed.
 */
export function createSchedule(
  plan: Pick<LoadPlan, 'batchSize' | 'eventsPerSecond' | 'maxBacklog'>,
  now: () => number = () => performance.now(),
): Schedule {
  const { eventsPerSecond, maxBacklog = Number.POSITIVE_INFINITY } = plan;
  const eventsPerRequest = Math.max(1, plan.batchSize);
  const spacingMs = eventsPerSecond === undefined ? undefined : (1000 * eventsPerRequest) / eventsPerSecond;
  let due = Number.POSITIVE_INFINITY;
  let sentEvents = 0;
  let storedEvents = 0;

  return {
    start() {
      due = now();
    },
    takeDue(time) {
      if (time < due || sentEvents - storedEvents >= maxBacklog) return undefined;
      sentEvents += eventsPerRequest;
      if (spacingMs === undefined) return time;
      const taken = due;
      due += spacingMs;
      return taken;
    },
    stored(events) {
      storedEvents = events;
    },
    stop() {
      due = Number.POSITIVE_INFINITY;
    },
  };
}
