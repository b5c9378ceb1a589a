import type { Position } from '../../control/position.ts';
import type { AlertEvent, RuleType } from '../../core/alerts/rule.ts';
import type { SpanCounts } from '../../core/alerts/spike.ts';
import type { Micros } from '../../core/time.ts';

/** An alert as it is stored: the same for the same rule and event, however often it is found. */
export interface AlertRow {
  workspaceId: string;
  id: string;
  ruleId: string;
  ruleName: string;
  ruleType: RuleType;
  severity: string;
  reason: string;
  eventId: string;
  eventSeq: number;
  action: string;
  actorId: string;
  ipCountry: string | undefined;
  /** It is recorded, and nobody is told. */
  isMuted: boolean;
  /** When the event was received. */
  triggeredAtMicros: Micros;
}

/** Events of one workspace that fit a rule, up to a place in its chain. */
export interface History {
  workspaceId: string;
  patterns: readonly string[];
  throughSeq: number;
}

/** What events an actor has left behind, by country. */
export interface ActorCountries {
  actorId: string;
  /** One that the actor did. */
  action: string;
  countries: [country: string, events: number][];
}

/** Events and alerts, as the rules need them. Everything throws when the store cannot answer, and may be repeated. */
export interface AlertStore {
  /** Which workspaces of a partition have events behind `after`, up to `through`, and from which `seq` to which. */
  grownWorkspaces(
    partition: number,
    after: Position,
    through: Position,
  ): Promise<Map<string, { firstSeq: number; lastSeq: number }>>;
  /** The next events of a workspace behind `afterSeq`, up to `throughSeq`, received after a time; in their order. */
  eventsAfter(
    workspaceId: string,
    range: { afterSeq: number; throughSeq: number; afterMicros: Micros },
    limit: number,
  ): Promise<AlertEvent[]>;
  /** When the oldest event that is kept of a workspace was received; undefined without one up to `throughSeq`. */
  oldestEventAt(workspaceId: string, throughSeq: number): Promise<Micros | undefined>;
  /** The newest events received after a time, in their order: `limit` of each actor, or of all. */
  newestEvents(
    history: History,
    range: { afterMicros: Micros; limit: number; perActor: boolean },
  ): Promise<AlertEvent[]>;
  /** From where actors acted, where that is known: the least recently active first, and no more than `mostActors`. */
  countriesOfActors(history: History, mostActors: number): Promise<ActorCountries[]>;
  countsBySpan(history: History, range: { spanMicros: Micros; sinceMicros: Micros }): Promise<SpanCounts>;
  /** The newest alert of each actor, of those a rule raised after a time by events up to `throughSeq`; in the order of time. */
  alertsOf(
    rule: { workspaceId: string; ruleId: string },
    range: { throughSeq: number; afterMicros: Micros },
  ): Promise<{ actorId: string; triggeredAtMicros: Micros }[]>;
  /** All of them or none. The same again changes nothing. */
  writeAlerts(rows: readonly AlertRow[]): Promise<void>;
}
