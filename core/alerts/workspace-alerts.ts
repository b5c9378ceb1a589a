import { type ActionMatcher, matcherOf } from '../action-pattern.ts';
import { ImmutableError } from '../errors.ts';
import { type Hasher, portableHasher } from '../hash.ts';
import { MICROS_PER_MINUTE, type Micros } from '../time.ts';
import { ActorTable } from './actors.ts';
import { type MemorySnapshot, memoryOf, type RuleMemory, WORKSPACE_SLOT } from './memory.ts';
import { type AlertEvent, type AlertRule, alertId, patternsOf, scopeOf } from './rule.ts';
import { NodePool } from './slot-lists.ts';

/** That an event met a rule, and nobody was told of the same a short while ago. */
export interface Alert {
  /** The same however often the event comes. */
  id: string;
  rule: AlertRule;
  /** For people; names no actor and no address. */
  reason: string;
  event: AlertEvent;
}

export interface WorkspaceAlerts {
  addRule(rule: AlertRule, beginning: Beginning): void;
  /** What it remembered is forgotten. */
  removeRule(ruleId: string): void;
  /**
   * The alerts of the next event: all rules take it in. Events come in the order of `seq`; one that came before
   * changes nothing and raises nothing.
   */
  evaluate(event: AlertEvent): readonly Alert[];
  /**
   * One rule takes in an event from before its beginning. Raises nothing. In the order of `seq`; one that came before,
   * or comes after the beginning, changes nothing.
   */
  replay(ruleId: string, event: AlertEvent): void;
  /** An alert from before the rule's beginning, so that its cooldown counts. After the events, in the order of time. */
  recall(ruleId: string, alert: { actorId: string; triggeredAtMicros: Micros }): void;
  /** All that is remembered, as JSON can carry it. */
  snapshot(): WorkspaceSnapshot;
  /** Of a snapshot, for rules that were added before and have taken nothing in; other rules in it are left out. */
  restore(snapshot: WorkspaceSnapshot): void;
  readonly actorCount: number;
}

/** From where on a rule raises alerts, and what it knows by then. */
export interface Beginning {
  /** `evaluate` begins behind the event with this number; 0 is the whole chain. */
  afterSeq: number;
  /**
   * From when on the rule is given all events that fit it, by `replay` or `evaluate`: the oldest of the workspace, or
   * `lookBackMicros` before the event of `afterSeq`.
   */
  countedFrom: Micros;
}

export interface WorkspaceSnapshot {
  /** From the least recently active to the most; other parts name an actor by its place here, from 1. */
  actors: string[];
  rules: { id: string; lastSeq: number; alerted: [actor: number, Micros][]; memory: MemorySnapshot }[];
}

export interface WorkspaceAlertsOptions {
  /** More than these are never remembered: the one that was inactive for longest is forgotten, by all rules. */
  mostActors?: number;
  /** The same for times and countries of all actors together. */
  mostRemembered?: number;
  hasher?: Hasher;
}

export const MOST_ACTORS = 100_000;
/** 12 bytes each. */
export const MOST_REMEMBERED = 8_000_000;
/** An attacker may call each action by another name; what fits them is then found anew. */
const MOST_ACTIONS = 4_096;

interface RuleState {
  rule: AlertRule;
  isFitting: ActionMatcher;
  isPerActor: boolean;
  cooldownMicros: Micros;
  memory: RuleMemory;
  /** Events up to here were evaluated, or are from before the rule's beginning. */
  lastSeq: number;
  replayedSeq: number;
  /** When the rule last raised an alert, by slot. */
  alertedAt: Map<number, Micros>;
}

const NOTHING: readonly Alert[] = [];

/**
 * The alert rules of one workspace and what they remember, changed in place. Does no I/O and asks no clock: what
 * comes out depends on what came in alone.
 */
export function createWorkspaceAlerts(options: WorkspaceAlertsOptions = {}): WorkspaceAlerts {
  const { mostActors = MOST_ACTORS, mostRemembered = MOST_REMEMBERED, hasher = portableHasher } = options;
  const states = new Map<string, RuleState>();
  const fitting = new Map<string, RuleState[]>();
  const actors = new ActorTable(mostActors, forget);
  // What was remembered is taken over whole: making room would forget the very actors that are being restored.
  let isRestoring = false;
  const pool = new NodePool(mostRemembered, () => !isRestoring && actors.forgetOldest());

  function forget(slot: number): void {
    for (const { memory, alertedAt } of states.values()) {
      memory.forget(slot);
      alertedAt.delete(slot);
    }
  }

  function stateOf(ruleId: string): RuleState {
    const state = states.get(ruleId);
    if (state === undefined) throw new ImmutableError('internal', `there is no alert rule ${ruleId} here`);
    return state;
  }

  function fittingRules(action: string): RuleState[] {
    const known = fitting.get(action);
    if (known !== undefined) return known;
    const found = [...states.values()].filter(({ isFitting }) => isFitting(action));
    if (fitting.size >= MOST_ACTIONS) fitting.clear();
    fitting.set(action, found);
    return found;
  }

  function slotFor({ isPerActor }: RuleState, actorId: string): number {
    return isPerActor ? actors.touch(actorId) : WORKSPACE_SLOT;
  }

  function isCooling({ alertedAt, cooldownMicros }: RuleState, slot: number, at: Micros): boolean {
    const before = alertedAt.get(slot);
    return before !== undefined && at < before + cooldownMicros;
  }

  return {
    get actorCount() {
      return actors.size;
    },
    addRule(rule, { afterSeq, countedFrom }) {
      if (states.has(rule.id)) throw new ImmutableError('internal', `alert rule ${rule.id} is already here`);
      states.set(rule.id, {
        rule,
        isFitting: matcherOf(patternsOf(rule)),
        isPerActor: scopeOf(rule) === 'actor',
        cooldownMicros: rule.cooldown_minutes * MICROS_PER_MINUTE,
        memory: memoryOf(rule, pool, countedFrom),
        lastSeq: afterSeq,
        replayedSeq: 0,
        alertedAt: new Map(),
      });
      fitting.clear();
    },
    removeRule(ruleId) {
      stateOf(ruleId).memory.forgetAll();
      states.delete(ruleId);
      fitting.clear();
    },
    evaluate(event) {
      let alerts: Alert[] | undefined;
      let actorSlot = 0;
      for (const state of fittingRules(event.action)) {
        if (event.seq <= state.lastSeq) continue;
        state.lastSeq = event.seq;
        if (state.isPerActor && actorSlot === 0) actorSlot = actors.touch(event.actorId);
        const slot = state.isPerActor ? actorSlot : WORKSPACE_SLOT;
        const { rule, memory } = state;
        if (!memory.meets(event, slot) || isCooling(state, slot, event.createdAtMicros)) continue;
        state.alertedAt.set(slot, event.createdAtMicros);
        alerts ??= [];
        alerts.push({ id: alertId(rule.id, event.id, hasher), rule, reason: memory.reason(event), event });
      }
      return alerts ?? NOTHING;
    },
    replay(ruleId, event) {
      const state = stateOf(ruleId);
      if (event.seq <= state.replayedSeq || event.seq > state.lastSeq || !state.isFitting(event.action))
        return;
      state.replayedSeq = event.seq;
      state.memory.meets(event, slotFor(state, event.actorId));
    },
    recall(ruleId, { actorId, triggeredAtMicros }) {
      const state = stateOf(ruleId);
      state.alertedAt.set(slotFor(state, actorId), triggeredAtMicros);
    },
    snapshot() {
      const ids = [...actors.oldestFirst()];
      const places = new Map(ids.map((id, index) => [actors.slotOf(id) ?? 0, index + 1]));
      const placeOf = (slot: number) => places.get(slot) ?? WORKSPACE_SLOT;
      const rules = [...states.values()].map(({ rule, lastSeq, alertedAt, memory }) => ({
        id: rule.id,
        lastSeq,
        alerted: [...alertedAt].map(([slot, at]): [number, Micros] => [placeOf(slot), at]),
        memory: memory.snapshot(placeOf),
      }));
      return { actors: ids, rules };
    },
    restore(snapshot) {
      for (const id of snapshot.actors) actors.touch(id);
      isRestoring = true;
      // Where there is room for fewer actors than there was, the oldest are gone again.
      const slotOf = (place: number) =>
        place === 0 ? WORKSPACE_SLOT : actors.slotOf(snapshot.actors[place - 1] ?? '');
      for (const { id, lastSeq, alerted, memory } of snapshot.rules) {
        const state = states.get(id);
        if (state === undefined) continue;
        state.lastSeq = lastSeq;
        for (const [place, at] of alerted) {
          const slot = slotOf(place);
          if (slot !== undefined) state.alertedAt.set(slot, at);
        }
        state.memory.restore(memory, slotOf);
      }
      isRestoring = false;
    },
  };
}
