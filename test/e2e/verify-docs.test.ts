import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, it, test } from 'vitest';
import { describeNeeding, programs } from '../support/requirements.ts';
import vectors from '../vectors/integrity-v1.json' with { type: 'json' };

/** The shell scripts that docs/verify.md shows, run as they stand there. */
const [CHECK = '', SIGNATURE = ''] = [
  ...readFileSync('docs/verify.md', 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm),
].map((match) => match[1]);

interface Ended {
  code: number;
  stdout: string;
}

async function run(script: string): Promise<Ended> {
  try {
    const { stdout } = await promisify(execFile)('sh', ['-c', script]);
    return { code: 0, stdout };
  } catch (error) {
    const { code, stdout } = Object(error);
    return { code: Number(code), stdout: String(stdout) };
  }
}

/** Where data stands: between single quotes, but no words, formats or prefixes of the script. */
function dataIn(script: string): { value: string; at: number }[] {
  return [...script.matchAll(/'([^']+)'/g)]
    .filter(([, value = '']) => !/^(imk|%s|the |0[01]%s)/.test(value))
    .map((match) => ({ value: match[1] ?? '', at: match.index + 1 }));
}

function changedAt(script: string, place: number): string {
  const other = script[place] === '1' ? '2' : '1';
  return script.slice(0, place) + other + script.slice(place + 1);
}

await describeNeeding(programs('xxd', 'xxd', 'sha256sum'), 'the shell check of docs/verify.md', () => {
  const event = vectors.events[10]!;

  it('holds, and uses the values of a vector', async () => {
    const values = dataIn(CHECK).map(({ value }) => value);
    expect(values).toEqual([
      String(event.seq),
      event.created_at,
      event.previous_event_hash,
      event.event_hash,
      event.body,
      event.private,
      event.salt,
      ...Array.from({ length: 5 }, () => expect.stringMatching(/^[\da-f]{64}$/)),
      vectors.checkpoint.text.split('\n')[2],
    ]);
    const root = vectors.tree.roots.at(-1)?.root;
    expect(await run(CHECK)).toEqual({ code: 0, stdout: `Event 11 is in the log with the root ${root}.\n` });
  });

  test.each(dataIn(CHECK))('fails when a byte of $value is changed', async ({ value, at }) => {
    for (const place of [
      at,
      at + Math.floor(value.length / 2),
      at + value.length - (value.endsWith('=') ? 3 : 1),
    ]) {
      const { code, stdout } = await run(changedAt(CHECK, place));
      expect(code).toBe(1);
      expect(stdout).toMatch(/^WRONG: the (event|personal data|path)\n$/);
    }
  });

  it('takes no program but those it speaks of', () => {
    const known = [
      'set',
      'sha256',
      'sha256sum',
      'cut',
      'fail',
      'echo',
      'exit',
      'printf',
      'node',
      'xxd',
      'base64',
      'case',
      'esac',
    ];
    const words = CHECK.replaceAll(/'[^']*'|"(?:[^"\\$]|\\.|\$\w+)*"|#.*/g, '').matchAll(
      /(?:^|[|{(;]|\|\|)\s*([a-z]\w*)(?=[ )(]|$)/gm,
    );
    expect([...words].map((match) => match[1]).filter((word) => !known.includes(word ?? ''))).toEqual([]);
  });
});

await describeNeeding(programs('openssl', 'xxd', 'openssl'), 'the signature check of docs/verify.md', () => {
  it('holds for the signed note of a vector', async () => {
    const { note, text, verifier_key } = vectors.checkpoint;
    for (const part of [
      ...text.trim().split('\n'),
      note.trim().split(' ').at(-1),
      verifier_key.split('+')[2],
    ]) {
      expect(SIGNATURE).toContain(`'${part}'`);
    }
    expect(await run(SIGNATURE)).toEqual({ code: 0, stdout: 'Signature Verified Successfully\n' });
  });

  it('fails when size, key or signature is another', async () => {
    for (const data of ["'24'", "key='AVYO1cN", "signature='yonkXV7i6gqX"]) {
      const place = SIGNATURE.indexOf(data) + data.length - 2;
      expect(SIGNATURE.indexOf(data)).toBeGreaterThan(0);
      expect((await run(changedAt(SIGNATURE, place))).code).not.toBe(0);
    }
  });
});
