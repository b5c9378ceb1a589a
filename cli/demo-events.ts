import { z } from 'zod';

/** The form of examples/demo-events.json. */
export const demoTemplates = z.object({
  picks: z.record(z.string(), z.array(z.record(z.string(), z.string())).min(1)),
  stories: z.array(z.object({ weight: z.number().positive(), events: z.array(z.json()).min(1) })).min(1),
});
export type DemoTemplates = z.infer<typeof demoTemplates>;
type Json = DemoTemplates['stories'][number]['events'][number];

/** 0 … 1, excluding 1. */
type Random = () => number;

/** What one story knows: the pick of each list, and what its events share. */
type Story = Record<string, string>;

/**
 * `count` request bodies of POST /events: whole stories one after the other, the last one cut where the
 * count is reached. They happened in order, at even distances up to `endMs`.
 */
export function* demoEvents(options: {
  templates: DemoTemplates;
  count: number;
  random: Random;
  startMs: number;
  endMs: number;
}): Generator<object> {
  const { templates, count, random, startMs, endMs } = options;
  let made = 0;
  while (made < count) {
    const story = newStory(templates, random);
    for (const template of pickStory(templates, random).events.slice(0, count - made)) {
      const occurredAtMs = startMs + ((endMs - startMs) * made) / count;
      const event = fill(template, story, random);
      yield { ...toObject(event), occurred_at: new Date(occurredAtMs).toISOString() };
      made += 1;
    }
  }
}

function newStory({ picks }: DemoTemplates, random: Random): Story {
  const story: Story = {
    story: hex(8, random),
    sha: hex(40, random),
    version: `${wholeNumber(1, 4, random)}.${wholeNumber(0, 30, random)}.${wholeNumber(0, 9, random)}`,
  };
  for (const [list, choices] of Object.entries(picks)) {
    for (const [member, value] of Object.entries(pick(choices, random))) story[`${list}.${member}`] = value;
  }
  return story;
}

function pickStory({ stories }: DemoTemplates, random: Random): DemoTemplates['stories'][number] {
  const total = stories.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const story of stories) {
    left -= story.weight;
    if (left < 0) return story;
  }
  return pick(stories, random);
}

const PLACEHOLDER = /\{([^{}]+)\}/g;
const WHOLE_NUMBER = /^\{number:\d+-\d+\}$/;

function fill(template: Json, story: Story, random: Random): Json {
  if (typeof template === 'string') {
    const text = template.replace(PLACEHOLDER, (_, name: string) => wordFor(name, story, random));
    return WHOLE_NUMBER.test(template) ? Number(text) : text;
  }
  if (Array.isArray(template)) return template.map((part) => fill(part, story, random));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(
    Object.entries(template).map(([name, part]) => [name, fill(part, story, random)]),
  );
}

/** Throws for a name that nothing stands behind: a mistake in the file of templates. */
function wordFor(name: string, story: Story, random: Random): string {
  const [kind, argument = ''] = name.split(':');
  if (kind === 'hex') return hex(Number(argument), random);
  if (kind === 'number') {
    const [least = 0, most = 0] = argument.split('-').map(Number);
    return String(wholeNumber(least, most, random));
  }
  const value = story[name];
  if (value === undefined) throw new Error(`the demo templates name {${name}}, which there is not`);
  return value;
}

function toObject(event: Json): object {
  return typeof event === 'object' && event !== null ? event : {};
}

function pick<T>(choices: readonly T[], random: Random): T {
  const choice = choices[Math.floor(random() * choices.length)];
  if (choice === undefined) throw new Error('the demo templates have an empty list');
  return choice;
}

function wholeNumber(least: number, most: number, random: Random): number {
  return least + Math.floor(random() * (most - least + 1));
}

function hex(digits: number, random: Random): string {
  return Array.from({ length: digits }, () => wholeNumber(0, 15, random).toString(16)).join('');
}
