import { parseConditions } from '../core/alerts/conditions.ts';
import { DEFAULT_COOLDOWN_MINUTES, RULE_TYPES, type RuleType } from '../core/alerts/rule.ts';
import type { Violation } from '../core/errors.ts';
import { addViolation, type Findings, listViolations, memberPath, noFindings } from '../core/findings.ts';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import { parseDestination } from '../infra/outbound/destination.ts';
import type { OutboundPolicy } from '../infra/outbound/policy.ts';

export const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export const CHANNELS = ['email', 'webhook'] as const;
export type Channel = (typeof CHANNELS)[number];

const DEFAULT_SEVERITY: Severity = 'medium';
/** Four weeks. */
const MAX_COOLDOWN_MINUTES = 40_320;
const MAX_TEXT = 255;
/** Below, a signature could be made by trying secrets. */
const LEAST_SECRET = 16;

/** A whole rule as it was asked for, checked, with what was left out filled in. */
export interface AlertRuleInput {
  name: string;
  enabled: boolean;
  rule_type: RuleType;
  conditions: JsonObject;
  severity: Severity;
  cooldown_minutes: number;
  channels: Channel[];
  webhook_url: string | null;
  /** Undefined where nothing was said of it. */
  webhook_secret: string | null | undefined;
}

export type ParsedAlertRule = { ok: true; rule: AlertRuleInput } | { ok: false; violations: Violation[] };

export interface AlertRuleLimits {
  /** Where a webhook may go. */
  outbound: OutboundPolicy;
  /** Whether the workspace has an address of its own for rules that name none. */
  hasDefaultWebhook: boolean;
}

/** Checks the body of a rule. Every violation names the member and says how to mend it. */
export function parseAlertRule(input: unknown, limits: AlertRuleLimits): ParsedAlertRule {
  if (!isJsonObject(input))
    return { ok: false, violations: [{ path: '', message: 'must be a JSON object' }] };
  const findings = noFindings();
  const ruleType = readRuleType(input, findings);
  const channels = readChannels(input, findings);
  const rule: Omit<AlertRuleInput, 'rule_type' | 'conditions'> = {
    name: readName(input, findings),
    enabled: readBoolean(input, 'enabled', true, findings),
    severity: readChoice(input, 'severity', SEVERITIES, DEFAULT_SEVERITY, findings),
    cooldown_minutes: readCooldown(input, findings),
    channels,
    webhook_url: readWebhookUrl(input, channels, limits, findings),
    webhook_secret: readSecret(input, findings),
  };
  const conditions = ruleType === undefined ? undefined : readConditionsOf(ruleType, input, findings);
  refuseUnknown(input, findings);
  const violations = listViolations(findings);
  if (ruleType === undefined || conditions === undefined || violations.length > 0) {
    return { ok: false, violations };
  }
  return { ok: true, rule: { ...rule, rule_type: ruleType, conditions } };
}

const MEMBERS = [
  'name',
  'enabled',
  'rule_type',
  'conditions',
  'severity',
  'cooldown_minutes',
  'channels',
  'webhook_url',
  'webhook_secret',
];

/** Undefined for one without a value. */
function memberOf(input: JsonObject, name: string): unknown {
  return Object.hasOwn(input, name) ? (input[name] ?? undefined) : undefined;
}

function readName(input: JsonObject, findings: Findings): string {
  const value = memberOf(input, 'name');
  const name = typeof value === 'string' && value.isWellFormed() ? value.trim() : '';
  if (name !== '' && [...name].length <= MAX_TEXT) return name;
  addViolation(findings, 'name', `must be a text of 1 to ${MAX_TEXT} characters`);
  return '';
}

function readRuleType(input: JsonObject, findings: Findings): RuleType | undefined {
  const value = memberOf(input, 'rule_type');
  const ruleType = RULE_TYPES.find((type) => type === value);
  if (ruleType === undefined) addViolation(findings, 'rule_type', `must be one of ${RULE_TYPES.join(', ')}`);
  return ruleType;
}

function readConditionsOf(ruleType: RuleType, input: JsonObject, findings: Findings): JsonObject | undefined {
  const parsed = parseConditions(ruleType, memberOf(input, 'conditions'));
  if (parsed.ok) return { ...parsed.conditions };
  for (const { path, message } of parsed.violations) {
    const separator = path === '' || path.startsWith('[') ? '' : '.';
    addViolation(findings, `conditions${separator}${path}`, message);
  }
  return undefined;
}

function readBoolean(input: JsonObject, name: string, whenAbsent: boolean, findings: Findings): boolean {
  const value = memberOf(input, name) ?? whenAbsent;
  if (typeof value === 'boolean') return value;
  addViolation(findings, name, 'must be true or false');
  return whenAbsent;
}

function readChoice<Choice extends string>(
  input: JsonObject,
  name: string,
  choices: readonly Choice[],
  whenAbsent: Choice,
  findings: Findings,
): Choice {
  const value = memberOf(input, name) ?? whenAbsent;
  const choice = choices.find((one) => one === value);
  if (choice === undefined) addViolation(findings, name, `must be one of ${choices.join(', ')}`);
  return choice ?? whenAbsent;
}

function readCooldown(input: JsonObject, findings: Findings): number {
  const value = memberOf(input, 'cooldown_minutes') ?? DEFAULT_COOLDOWN_MINUTES;
  const isMinutes = typeof value === 'number' && Number.isInteger(value);
  if (isMinutes && value >= 0 && value <= MAX_COOLDOWN_MINUTES) return value;
  addViolation(findings, 'cooldown_minutes', `must be a whole number from 0 to ${MAX_COOLDOWN_MINUTES}`);
  return DEFAULT_COOLDOWN_MINUTES;
}

function readChannels(input: JsonObject, findings: Findings): Channel[] {
  const value = memberOf(input, 'channels') ?? [];
  const isChannel = (one: unknown) => CHANNELS.some((channel) => channel === one);
  if (Array.isArray(value) && value.every(isChannel)) {
    return CHANNELS.filter((channel) => value.includes(channel));
  }
  addViolation(findings, 'channels', `must be a list of ${CHANNELS.join(' and ')}, such as ["email"]`);
  return [];
}

function readWebhookUrl(
  input: JsonObject,
  channels: readonly Channel[],
  { outbound, hasDefaultWebhook }: AlertRuleLimits,
  findings: Findings,
): string | null {
  const value = memberOf(input, 'webhook_url');
  if (value === undefined) {
    if (channels.includes('webhook') && !hasDefaultWebhook) {
      addViolation(findings, 'webhook_url', 'is required for the channel webhook: where to send alerts');
    }
    return null;
  }
  const parsed =
    typeof value === 'string' ? parseDestination(value, outbound) : { ok: false, refusal: 'must be a URL' };
  if ('destination' in parsed) return parsed.destination.url.href;
  addViolation(findings, 'webhook_url', 'refusal' in parsed ? parsed.refusal : 'must be a URL');
  return null;
}

function readSecret(input: JsonObject, findings: Findings): string | null | undefined {
  if (!Object.hasOwn(input, 'webhook_secret')) return undefined;
  const value = input.webhook_secret;
  if (value === null || value === undefined) return null;
  const isSecret = typeof value === 'string' && value.isWellFormed();
  if (isSecret && value.length >= LEAST_SECRET && value.length <= MAX_TEXT) return value;
  addViolation(findings, 'webhook_secret', `must be a text of ${LEAST_SECRET} to ${MAX_TEXT} characters`);
  return undefined;
}

function refuseUnknown(input: JsonObject, findings: Findings): void {
  for (const name of Object.keys(input)) {
    if (!MEMBERS.includes(name)) {
      addViolation(
        findings,
        memberPath('', name),
        `is no member of an alert rule; these are: ${MEMBERS.join(', ')}`,
      );
    }
  }
}
