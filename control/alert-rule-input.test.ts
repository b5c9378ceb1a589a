import { describe, expect, it } from 'vitest';
import { outboundPolicy } from '../infra/outbound/policy.ts';
import { parseAlertRule } from './alert-rule-input.ts';

const LIMITS = { outbound: outboundPolicy([]), hasDefaultWebhook: false };
const MINIMAL = { name: ' Abroad ', rule_type: 'new_country' };

describe('parseAlertRule', () => {
  it('fills in what was left out', () => {
    expect(parseAlertRule(MINIMAL, LIMITS)).toEqual({
      ok: true,
      rule: {
        name: 'Abroad',
        enabled: true,
        rule_type: 'new_country',
        conditions: { action_pattern: '*', learning_events: 1 },
        severity: 'medium',
        cooldown_minutes: 60,
        channels: [],
        webhook_url: null,
        webhook_secret: undefined,
      },
    });
  });

  it('keeps what is given', () => {
    const body = {
      name: 'Mass changes',
      rule_type: 'repeated_action',
      conditions: { action_pattern: 'config.changed', threshold: 3, window_minutes: 1 },
      severity: 'critical',
      cooldown_minutes: 0,
      enabled: false,
      channels: ['webhook', 'email'],
      webhook_url: 'https://hooks.example.com/x?y=1',
      webhook_secret: 'sixteen letters!',
    };
    expect(parseAlertRule(body, LIMITS)).toEqual({
      ok: true,
      rule: { ...body, channels: ['email', 'webhook'] },
    });
  });

  it('needs no address where the workspace has one', () => {
    const body = { ...MINIMAL, channels: ['webhook'] };
    expect(parseAlertRule(body, LIMITS).ok).toBe(false);
    expect(parseAlertRule(body, { ...LIMITS, hasDefaultWebhook: true }).ok).toBe(true);
  });

  it.each<[unknown, string, string]>([
    [null, '', 'must be a JSON object'],
    [{ ...MINIMAL, name: ' ' }, 'name', 'must be a text of 1 to 255 characters'],
    [{ ...MINIMAL, name: 'ä'.repeat(256) }, 'name', 'must be a text of 1 to 255 characters'],
    [
      { ...MINIMAL, rule_type: 'toString' },
      'rule_type',
      'must be one of new_country, high_volume_destructive, ingestion_spike, repeated_action, off_hours',
    ],
    [
      { ...MINIMAL, conditions: { learning_events: 0 } },
      'conditions.learning_events',
      'must be a whole number from 1 to 1000',
    ],
    [{ ...MINIMAL, conditions: [] }, 'conditions', 'must be a JSON object'],
    [{ ...MINIMAL, severity: 'urgent' }, 'severity', 'must be one of low, medium, high, critical'],
    [{ ...MINIMAL, cooldown_minutes: -1 }, 'cooldown_minutes', 'must be a whole number from 0 to 40320'],
    [{ ...MINIMAL, enabled: 'yes' }, 'enabled', 'must be true or false'],
    [{ ...MINIMAL, channels: ['sms'] }, 'channels', 'must be a list of email and webhook, such as ["email"]'],
    [
      { ...MINIMAL, channels: ['webhook'] },
      'webhook_url',
      'is required for the channel webhook: where to send alerts',
    ],
    [{ ...MINIMAL, webhook_url: 7 }, 'webhook_url', 'must be a URL'],
    [{ ...MINIMAL, webhook_url: 'http://hooks.example.com' }, 'webhook_url', 'must begin with https://'],
    [
      { ...MINIMAL, webhook_url: 'https://127.0.0.1/' },
      'webhook_url',
      'leads to an address that is not public',
    ],
    [{ ...MINIMAL, webhook_secret: 'short' }, 'webhook_secret', 'must be a text of 16 to 255 characters'],
    [
      JSON.parse('{"name":"x","rule_type":"new_country","__proto__":{}}'),
      '__proto__',
      'is no member of an alert rule; these are: name, enabled, rule_type, conditions, severity, cooldown_minutes, channels, webhook_url, webhook_secret',
    ],
  ])('refuses %j at %s', (body, path, message) => {
    expect(parseAlertRule(body, LIMITS)).toEqual({ ok: false, violations: [{ path, message }] });
  });
});
