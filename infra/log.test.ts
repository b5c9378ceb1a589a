import { describe, expect, it } from 'vitest';
import { createLogger } from './log.ts';

function lines(): { write(line: string): void; all: Record<string, unknown>[] } {
  const all: Record<string, unknown>[] = [];
  return { write: (line) => all.push(JSON.parse(line)), all };
}

describe('createLogger', () => {
  it('writes one JSON object a line, with the name of its process and the time', () => {
    const out = lines();
    createLogger('chain', 'info', out).info({ partition: 3 }, 'lease held');
    expect(out.all).toMatchObject([{ name: 'chain', partition: 3, msg: 'lease held', level: 30 }]);
    expect(out.all[0]?.time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it('keeps secrets out', () => {
    const out = lines();
    createLogger('serve', 'info', out).info({
      api_key: 'imk_1',
      user: { password: 'p' },
      headers: { authorization: 'b' },
    });
    expect(JSON.stringify(out.all)).not.toMatch(/imk_1|"p"|"b"/);
  });

  it('is quiet below its level', () => {
    const out = lines();
    createLogger('serve', 'warn', out).info('hello');
    expect(out.all).toEqual([]);
  });
});
