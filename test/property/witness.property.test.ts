import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8Encode } from '../../core/bytes.ts';
import { type Checkpoint, openNote, verifierKeyOf } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import { checkPolicy, isSatisfied, parsePolicy, type Quorum, quorumGaps } from '../../core/policy.ts';
import { judge, type TreeHead } from '../../core/witness.ts';
import {
  encodeAddCheckpoint,
  parseAddCheckpoint,
  parseSignatureLines,
  parseSize,
} from '../../core/witness-message.ts';
import { nextStep } from '../../pipeline/tree/witness-answer.ts';
import { createSampleLog } from '../support/log.ts';
import { propertyRuns } from '../support/property-runs.ts';
import vectors from '../vectors/cosignature-v1.json' with { type: 'json' };

const HONEST = createSampleLog('log.example.test/ws_1', 24);
const HISTORIES = [HONEST, HONEST.forkedAfter(0), HONEST.forkedAfter(9), HONEST.forkedAfter(16)];

/** Whether the larger head begins with the smaller one: some history has both. */
function belongTogether(one: Checkpoint, other: Checkpoint): boolean {
  return HISTORIES.some((history) => [one, other].every((head) => isHeadOf(history, head)));
}

function isHeadOf(history: (typeof HISTORIES)[number], { size, root }: Checkpoint): boolean {
  const text = openNote(history.noteOf(size))?.text ?? '';
  return text.split('\n')[2] === Buffer.from(root).toString('base64');
}

const size = fc.nat({ max: 24 });
const attempt = fc.record({
  history: fc.constantFrom(...HISTORIES),
  provenBy: fc.constantFrom(...HISTORIES),
  size,
  /** As the witness says in a 409, or a guess. */
  oldSize: fc.option(size),
  proofFrom: fc.option(size),
});

test('whatever is submitted in whatever order, all that is cosigned is one history that grows', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(attempt, { minLength: 1, maxLength: 25 }), async (attempts) => {
      let latest: TreeHead | null = null;
      const cosigned: Checkpoint[] = [];
      for (const { history, provenBy, size, ...guess } of attempts) {
        const known = (latest as TreeHead | null)?.size ?? 0;
        const oldSize = guess.oldSize ?? known;
        const from = Math.min(guess.proofFrom ?? oldSize, size);
        const consistencyProof = await provenBy.proofFrom(from, size);
        const body = encodeAddCheckpoint({ oldSize, consistencyProof, note: history.noteOf(size) });
        const request = parseAddCheckpoint(body);
        if (request === null) throw new Error(`cannot be read: ${body}`);
        if (!judge(request, latest).ok) continue;
        expect(request.checkpoint.size).toBeGreaterThanOrEqual(known);
        latest = request.checkpoint;
        cosigned.push(request.checkpoint);
      }
      for (const [index, one] of cosigned.entries()) {
        for (const other of cosigned.slice(index + 1)) expect(belongTogether(one, other)).toBe(true);
      }
    }),
    propertyRuns(150),
  );
});

const lines = fc.stringMatching(/^[ -~\t\n—é\0\r]{0,200}$/);
const [, witness] = vectors.cosigners;
const VKEYS = [HONEST.verifierKey, ...vectors.cosigners.map(({ verifier_key }) => verifier_key)];
const policyLines = fc
  .array(
    fc.array(
      fc.oneof(
        fc.constantFrom(
          'log',
          'witness',
          'group',
          'quorum',
          'none',
          'any',
          'all',
          '1',
          '2',
          'A',
          'B',
          ...VKEYS,
        ),
        lines,
      ),
      { maxLength: 6 },
    ),
    { maxLength: 8 },
  )
  .map((all) => all.map((words) => `${words.join(' ')}\n`).join(''));

test('any text is judged without a throw that is not one of ours', () => {
  const asked = {
    key: verifierKeyOf({ name: witness!.name, seed: new Uint8Array(32) }),
    text: 'x\n',
    size: 9,
    oldSize: 3,
  };
  fc.assert(
    fc.property(
      fc.oneof(lines, policyLines, fc.string({ unit: 'binary' })),
      fc.nat({ max: 599 }),
      (text, status) => {
        expect(parseAddCheckpoint(text)).toBeNull();
        parseSize(text);
        parseSignatureLines(text, 'x\n');
        nextStep(asked, { status, contentType: 'text/x.tlog.size', body: text });
        for (const file of [text, utf8Encode(text)]) {
          try {
            const policy = parsePolicy(file);
            expect(checkPolicy(HONEST.noteOf(3), policy).ok).toBe(
              policy.logs.length > 0 && policy.quorum.kind === 'none',
            );
          } catch (error) {
            expect(error).toBeInstanceOf(ImmutableError);
          }
        }
      },
    ),
    propertyRuns(500),
  );
});

/** Groups in groups, each witness in one place. */
const quorums = fc.letrec<{ quorum: Quorum }>((tie) => ({
  quorum: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.record({ kind: fc.constant('witness' as const), name: fc.uuid() }),
    fc
      .tuple(fc.uuid(), fc.array(tie('quorum'), { minLength: 1, maxLength: 4 }), fc.nat())
      .map(([name, members, number]) => {
        const threshold = 1 + (number % members.length);
        return { kind: 'group' as const, name, threshold, members };
      }),
  ),
})).quorum;

function witnessesIn(quorum: Quorum): string[] {
  if (quorum.kind === 'group') return quorum.members.flatMap(witnessesIn);
  return quorum.kind === 'witness' ? [quorum.name] : [];
}

test('a quorum: all satisfy it, none do not, one more never harms, and what is missing is what helps', () => {
  fc.assert(
    fc.property(quorums, fc.infiniteStream(fc.boolean()), (quorum, choices) => {
      const all = witnessesIn(quorum);
      expect(isSatisfied(quorum, new Set(all))).toBe(true);
      expect(isSatisfied(quorum, new Set())).toBe(false);
      const some = new Set(all.filter(() => choices.next().value));
      const satisfied = isSatisfied(quorum, some);
      expect(quorumGaps(quorum, some).length === 0).toBe(satisfied);
      for (const one of all) {
        if (satisfied) expect(isSatisfied(quorum, new Set([...some, one]))).toBe(true);
      }
      const helpful = new Set(quorumGaps(quorum, some).flatMap(({ missing }) => missing));
      expect(isSatisfied(quorum, new Set([...some, ...all.filter((name) => helpful.has(name))]))).toBe(true);
    }),
  );
});
