import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { parseConditions } from '../core/alerts/conditions.ts';
import { type AlertRule, RULE_TYPES, type RuleType } from '../core/alerts/rule.ts';
import { ImmutableError } from '../core/errors.ts';
import { isJsonObject } from '../core/json.ts';
import type { Bucket, Entry } from '../infra/nats/kv.ts';
import type { Sealer } from '../infra/seal.ts';
import {
  type AlertRuleInput,
  type AlertRuleLimits,
  CHANNELS,
  parseAlertRule,
  SEVERITIES,
} from './alert-rule-input.ts';
import { PLANS, type Plan } from './plans.ts';
import { byCreation, type Clock, recordReader, timestamp } from './record.ts';
import { isConflict } from './workspaces.ts';

const schema = z.looseObject({
  id: z.string().regex(/^rul_[0-9a-f]{16}$/),
  workspace_id: z.string(),
  name: z.string(),
  enabled: z.boolean(),
  rule_type: z.enum(RULE_TYPES),
  /** As `parseConditions` returned them. */
  conditions: z.record(z.string(), z.unknown()),
  severity: z.enum(SEVERITIES),
  cooldown_minutes: z.number(),
  channels: z.array(z.enum(CHANNELS)),
  /** Without one the workspace's counts. */
  webhook_url: z.string().nullable(),
  /** Sealed (`secretContext`). */
  webhook_secret: z.string().nullable(),
  /** What happens before is recorded, and nobody is told. */
  muted_until: z.string().nullable(),
  /** Only what was received later raises alerts: when the rule was made, switched on, or came to mean something else. */
  effective_from: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
});

/** An alert rule of a workspace, in the bucket `alert_rules`. */
export type AlertRuleRecord = z.infer<typeof schema>;

const readRecord = recordReader('alert rule', schema);

/** Throws `misconfigured` for a record that cannot be read, or whose conditions are none. */
export function readAlertRule(value: unknown): AlertRuleRecord {
  const record = readRecord(value);
  ruleOf(record);
  return record;
}

/** What the rules are evaluated by. */
export function ruleOf(record: AlertRuleRecord): AlertRule {
  return RULE_OF[record.rule_type](record);
}

const RULE_OF: { [Type in RuleType]: (record: AlertRuleRecord) => AlertRule<Type> } = {
  new_country: (record) => ruleOfType('new_country', record),
  high_volume_destructive: (record) => ruleOfType('high_volume_destructive', record),
  ingestion_spike: (record) => ruleOfType('ingestion_spike', record),
  repeated_action: (record) => ruleOfType('repeated_action', record),
  off_hours: (record) => ruleOfType('off_hours', record),
};

function ruleOfType<Type extends RuleType>(
  rule_type: Type,
  { id, conditions, cooldown_minutes }: AlertRuleRecord,
): AlertRule<Type> {
  const parsed = parseConditions(rule_type, conditions);
  if (parsed.ok) return { id, rule_type, conditions: parsed.conditions, cooldown_minutes };
  throw new ImmutableError('misconfigured', `The conditions of the stored alert rule ${id} cannot be read.`, {
    nextStep: 'Change the rule, or start the version that wrote it.',
    details: { violations: parsed.violations },
  });
}

function keyOf(workspaceId: string, id: string): string {
  return `${workspaceId}.${id}`;
}

/** What a sealed webhook secret is bound to. */
export function secretContext({ workspace_id, id }: { workspace_id: string; id: string }): string {
  return `alert rule ${workspace_id} ${id}`;
}

/** The purpose of the sealer that webhook secrets are sealed by. */
export const ALERT_SECRET_PURPOSE = 'immutable alert webhook secrets';

export function openWebhookSecret(record: AlertRuleRecord, sealer: Sealer): string | undefined {
  if (record.webhook_secret === null) return undefined;
  return Buffer.from(sealer.open(record.webhook_secret, secretContext(record))).toString('utf8');
}

/** What changes of rules need. */
export interface AlertRuleContext {
  bucket: Bucket;
  sealer: Sealer;
  limits: AlertRuleLimits;
  now?: Clock;
}

export interface ChangedAlertRule {
  rule: AlertRuleRecord;
  /** One that was made here since none was given: it is told now, and never again. */
  madeSecret: string | undefined;
}

/** Throws `validation_failed` with all violations, `quota_exceeded` when the plan allows no more. */
export async function createAlertRule(
  context: AlertRuleContext,
  { id: workspaceId, plan }: { id: string; plan: Plan },
  body: unknown,
): Promise<ChangedAlertRule> {
  const { bucket, now = Date.now } = context;
  const input = requireValid(body, context.limits);
  requireRoom(plan, (await listAlertRules(bucket, workspaceId)).length + 1);
  const at = timestamp(now());
  const id = `rul_${randomBytes(8).toString('hex')}`;
  const { secret, madeSecret } = secretOf(context, { workspace_id: workspaceId, id }, input, null);
  const rule: AlertRuleRecord = {
    ...input,
    id,
    workspace_id: workspaceId,
    webhook_secret: secret,
    muted_until: null,
    effective_from: at,
    created_at: at,
    updated_at: at,
  };
  await bucket.create(keyOf(workspaceId, id), rule);
  // Several at once may all have found room: those that came last give way, so that never more are left than may be.
  const place = (await listAlertRules(bucket, workspaceId)).findIndex((other) => other.id === id) + 1;
  try {
    requireRoom(plan, place);
  } catch (error) {
    await bucket.delete(keyOf(workspaceId, id));
    throw error;
  }
  return { rule, madeSecret };
}

function requireRoom(plan: Plan, count: number): void {
  const most = PLANS[plan].alertRules;
  if (most === null || count <= most) return;
  throw new ImmutableError('quota_exceeded', `The plan "${plan}" allows ${most} alert rules.`);
}

function requireValid(body: unknown, limits: AlertRuleLimits): AlertRuleInput {
  const parsed = parseAlertRule(body, limits);
  if (parsed.ok) return parsed.rule;
  throw new ImmutableError('validation_failed', 'The alert rule is not valid.', {
    violations: parsed.violations,
  });
}

/** The sealed secret of the rule from now on: the one given, the one it has, or, for a webhook without any, a new one. */
function secretOf(
  { sealer }: AlertRuleContext,
  owner: { workspace_id: string; id: string },
  { webhook_secret: given, channels }: AlertRuleInput,
  present: string | null,
): { secret: string | null; madeSecret: string | undefined } {
  const seal = (secret: string) => sealer.seal(Buffer.from(secret), secretContext(owner));
  if (typeof given === 'string') return { secret: seal(given), madeSecret: undefined };
  if (given === undefined && present !== null) return { secret: present, madeSecret: undefined };
  if (!channels.includes('webhook')) return { secret: null, madeSecret: undefined };
  const madeSecret = `whsec_${randomBytes(24).toString('base64')}`;
  return { secret: seal(madeSecret), madeSecret };
}

/**
 * Changes the members that are given; the whole must be valid then. A rule of another type begins with that type's
 * default conditions, unless they are given. Throws `not_found`, `validation_failed`.
 */
export async function changeAlertRule(
  context: AlertRuleContext,
  workspaceId: string,
  id: string,
  body: unknown,
): Promise<ChangedAlertRule> {
  if (!isJsonObject(body)) requireValid(body, context.limits);
  const changes = isJsonObject(body) ? body : {};
  const { now = Date.now } = context;
  let madeSecret: string | undefined;
  const rule = await replaceRule(context.bucket, workspaceId, id, (present) => {
    const input = requireValid({ ...bodyOf(present, changes.rule_type), ...changes }, context.limits);
    const settled = secretOf(context, present, input, present.webhook_secret);
    madeSecret = settled.madeSecret;
    const at = timestamp(now());
    return {
      ...present,
      ...input,
      webhook_secret: settled.secret,
      effective_from: meansTheSame(present, input) ? present.effective_from : at,
      updated_at: at,
    };
  });
  return { rule, madeSecret };
}

/** A rule as it would be asked for, but for its secret. */
function bodyOf(rule: AlertRuleRecord, wantedType: unknown): Record<string, unknown> {
  const { name, enabled, rule_type, conditions, severity, cooldown_minutes, channels, webhook_url } = rule;
  const rest = { name, enabled, rule_type, severity, cooldown_minutes, channels, webhook_url };
  return wantedType === undefined || wantedType === rule_type ? { ...rest, conditions } : rest;
}

function meansTheSame(before: AlertRuleRecord, after: AlertRuleInput): boolean {
  const meaning = ({ rule_type, conditions }: Pick<AlertRuleInput, 'rule_type' | 'conditions'>) =>
    JSON.stringify(ruleOf({ ...before, rule_type, conditions }));
  return (before.enabled || !after.enabled) && meaning(before) === meaning(after);
}

/** Until `untilMs` alerts are recorded and nobody is told; `null` ends it. Throws `not_found`. */
export async function muteAlertRule(
  { bucket, now = Date.now }: Pick<AlertRuleContext, 'bucket' | 'now'>,
  workspaceId: string,
  id: string,
  untilMs: number | null,
): Promise<AlertRuleRecord> {
  return await replaceRule(bucket, workspaceId, id, (rule) => ({
    ...rule,
    muted_until: untilMs === null ? null : timestamp(untilMs),
    updated_at: timestamp(now()),
  }));
}

const CHANGE_ATTEMPTS = 5;

async function replaceRule(
  bucket: Bucket,
  workspaceId: string,
  id: string,
  next: (present: AlertRuleRecord) => AlertRuleRecord,
): Promise<AlertRuleRecord> {
  const key = keyOf(workspaceId, id);
  for (let attempt = 1; ; attempt++) {
    const entry = await bucket.get(key);
    if (entry === undefined) throw notFound(id);
    const changed = next(readAlertRule(entry.value));
    try {
      await bucket.update(key, changed, entry.revision);
      return changed;
    } catch (error) {
      if (!isConflict(error) || attempt === CHANGE_ATTEMPTS) throw error;
    }
  }
}

/** Throws `not_found`, or `conflict` where somebody changed it at that moment. */
export async function deleteAlertRule(bucket: Bucket, workspaceId: string, id: string): Promise<void> {
  const entry = await bucket.get(keyOf(workspaceId, id));
  if (entry === undefined) throw notFound(id);
  await bucket.delete(entry.key, entry.revision);
}

function notFound(id: string): ImmutableError {
  return new ImmutableError('not_found', `There is no alert rule ${id}.`);
}

export async function getAlertRule(
  bucket: Bucket,
  workspaceId: string,
  id: string,
): Promise<AlertRuleRecord | undefined> {
  const entry = await bucket.get(keyOf(workspaceId, id));
  return entry === undefined ? undefined : readAlertRule(entry.value);
}

/** Of one workspace, oldest first. */
export async function listAlertRules(bucket: Bucket, workspaceId: string): Promise<AlertRuleRecord[]> {
  const found = new Map<string, unknown>();
  const stop = await bucket.watch(
    (key, entry) => {
      if (entry !== undefined) found.set(key, entry.value);
    },
    keyOf(workspaceId, '*'),
  );
  await stop();
  return [...found.values()].map(readAlertRule).sort(byCreation);
}

/** All rules, kept current in memory. */
export interface AlertRuleDirectory {
  /** The same list until one of them changes. */
  rulesOf(workspaceId: string): readonly AlertRuleRecord[];
  workspaceIds(): string[];
  stop(): Promise<void>;
}

const NO_RULES: readonly AlertRuleRecord[] = [];

/**
 * Resolves once every present rule is known. One that cannot be read is told of and left out: of all workspaces' rules
 * only this one does not work then.
 */
export async function watchAlertRules(
  bucket: Bucket,
  onUnreadable: (key: string, error: unknown) => void,
): Promise<AlertRuleDirectory> {
  const byWorkspace = new Map<string, readonly AlertRuleRecord[]>();

  function read(entry: Entry): AlertRuleRecord | undefined {
    try {
      const rule = readAlertRule(entry.value);
      if (keyOf(rule.workspace_id, rule.id) === entry.key) return rule;
      throw new ImmutableError('misconfigured', `${entry.key} holds the alert rule of another key.`);
    } catch (error) {
      onUnreadable(entry.key, error);
      return undefined;
    }
  }

  const stop = await bucket.watch((key, entry) => {
    const [workspaceId = '', id = ''] = key.split('.');
    const others = (byWorkspace.get(workspaceId) ?? NO_RULES).filter((rule) => rule.id !== id);
    const rule = entry === undefined ? undefined : read(entry);
    const rules = rule === undefined ? others : [...others, rule];
    if (rules.length === 0) byWorkspace.delete(workspaceId);
    else byWorkspace.set(workspaceId, rules);
  });
  return {
    rulesOf: (workspaceId) => byWorkspace.get(workspaceId) ?? NO_RULES,
    workspaceIds: () => [...byWorkspace.keys()],
    stop,
  };
}
