import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createExportChecker, parseExportManifest } from '../../core/export.ts';
import { canonicalJson, type JsonObject } from '../../core/json.ts';
import { propertyRuns } from '../support/property-runs.ts';
import { exportManifest, exportRow, sampleChain, TRUST } from '../support/sample-log.ts';

const EVENTS = sampleChain(9);
const LINES = EVENTS.map((event) => JSON.stringify(exportRow(event)));

const GENUINE = exportManifest(EVENTS, { bytes: 0, sha256: '' });

/** With a manifest that fits the file, as whoever changes it would write one. */
function verdictOf(lines: readonly string[], members: JsonObject = {}): string {
  const content = Buffer.from(lines.join('\n'));
  const file = { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  const manifest = { ...GENUINE, file_size: file.bytes, sha256: file.sha256, ...members };
  const checker = createExportChecker(parseExportManifest(JSON.stringify(manifest)), TRUST);
  for (const line of lines) checker.line(line);
  return checker.end(file).verdict;
}

function saysTheSame(line: string, other: string): boolean {
  try {
    return canonicalJson(JSON.parse(line)) === canonicalJson(JSON.parse(other));
  } catch {
    return false;
  }
}

test('an export with any character changed is valid no more', () => {
  expect(verdictOf(LINES)).toBe('valid');
  fc.assert(
    fc.property(
      fc.nat(LINES.length - 1),
      fc.nat(),
      fc.string({ minLength: 1, maxLength: 2 }),
      (row, at, text) => {
        const line = LINES[row] ?? '';
        const place = at % line.length;
        const changed = line.slice(0, place) + text + line.slice(place + 1);
        fc.pre(!saysTheSame(line, changed));
        expect(verdictOf(LINES.with(row, changed))).toBe('invalid');
      },
    ),
    propertyRuns(500),
  );
});

test('an export with rows taken away, doubled or in another order is valid no more', () => {
  const rows = fc.array(fc.constantFrom(...LINES), { maxLength: 2 * LINES.length });
  fc.assert(
    fc.property(rows, fc.boolean(), (lines, complete) => {
      fc.pre(lines.join() !== LINES.join());
      expect(verdictOf(lines, { complete, rows: lines.length })).not.toBe('valid');
    }),
  );
});

test('any line is judged', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      expect(verdictOf([...LINES, line])).toBe('invalid');
    }),
  );
});
