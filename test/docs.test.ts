import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConditions } from '../core/alerts/conditions.ts';
import { RULE_TYPES } from '../core/alerts/rule.ts';
import { parsePolicy } from '../core/policy.ts';

const PAGES = ['README.md', 'CONTRIBUTING.md', ...pagesIn('docs'), ...pagesIn('docs/decisions')];

function pagesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
}

function namesIn(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ''))];
}

describe.each(PAGES)('%s', (page) => {
  const text = readFileSync(page, 'utf8');

  it('links to what is there', () => {
    const targets = namesIn(text, /\]\(([^)#]+)(?:#[^)]*)?\)/g).filter((target) => !/^\w+:/.test(target));
    expect(targets.filter((target) => !existsSync(join(dirname(page), target)))).toEqual([]);
  });

  it('names npm scripts that there are', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(namesIn(text, /npm run ([\w:]+)/g).filter((name) => !(name in scripts))).toEqual([]);
  });

  it('names commands of the command line that there are', () => {
    const commands = namesIn(readFileSync('cli/main.ts', 'utf8'), /(?:\.command\(|\[)'(\w+)/g);
    expect(namesIn(text, /npx immutable (\w+)/g).filter((name) => !commands.includes(name))).toEqual([]);
  });
});

describe('docs/operations.md', () => {
  it('has every setting', () => {
    const text = readFileSync('docs/operations.md', 'utf8');
    const known = namesIn(readFileSync('infra/config.ts', 'utf8'), /^ {2}(IMMUTABLE_\w+):/gm);
    expect(known.length).toBeGreaterThan(20);
    expect(known.filter((name) => !isNamed(text, name))).toEqual([]);
  });
});

describe('docs/witness.md', () => {
  const text = readFileSync('docs/witness.md', 'utf8');

  it('shows a policy that is one', () => {
    const [, policy = ''] = /```policy\n([^`]*)```/.exec(text) ?? [];
    const { logs, witnesses, quorum } = parsePolicy(policy);
    expect([logs.length, witnesses.length, quorum.kind]).toEqual([1, 2, 'group']);
  });

  it('has every option of the command', () => {
    const [, command = ''] =
      /function addWitnessCommand([\s\S]*?)\n}/.exec(readFileSync('cli/main.ts', 'utf8')) ?? [];
    const options = namesIn(command, /'(--[a-z-]+)/g);
    expect(options.length).toBeGreaterThan(8);
    expect(options.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  it('has every reason for which asking a witness fails', () => {
    const source = readFileSync('pipeline/tree/witness-answer.ts', 'utf8');
    const [, union = ''] = /type WitnessFailureReason =([\s\S]*?);\n\n/.exec(source) ?? [];
    const reasons = namesIn(union, /\| '(\w+)'/g);
    expect(reasons.length).toBeGreaterThan(8);
    expect(reasons.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('docs/alerts.md', () => {
  const text = readFileSync('docs/alerts.md', 'utf8');

  it('shows rules whose conditions are right', () => {
    const rules = namesIn(text, /```json\n(\{"name"[^`]*)```/g).map((example) => JSON.parse(example));
    expect(rules).toHaveLength(3);
    const parsed = rules.map(({ rule_type, conditions }) => parseConditions(rule_type, conditions));
    expect(parsed.filter(({ ok }) => !ok)).toEqual([]);
  });

  it('says which conditions each rule has, and their defaults', () => {
    const given = { action_pattern: '*', timezone: 'UTC', business_hours: { mon: [['09:00', '18:00']] } };
    for (const type of RULE_TYPES) {
      const [row = ''] = new RegExp(`^\\| \`${type}\` .*$`, 'm').exec(text) ?? [];
      const named = type === 'off_hours' ? given : { action_pattern: '*' };
      const parsed = parseConditions(type, type === 'high_volume_destructive' ? {} : named);
      expect(parsed.ok).toBe(true);
      for (const [name, value] of Object.entries(parsed.ok ? parsed.conditions : {})) {
        expect(row).toContain(typeof value === 'number' ? `\`${name}\` (${value})` : `\`${name}\``);
      }
    }
  });
});

/** A row may name a family: `IMMUTABLE_GEOIP_CITY_V4`, `_V6`. */
function isNamed(text: string, name: string): boolean {
  return text.includes(name) || text.includes(`\`${name.slice(name.lastIndexOf('_'))}\``);
}
