import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { hexDecode, hexEncode } from './bytes.ts';
import { privateDigest } from './canonical.ts';
import { eventHash } from './chain.ts';
import { checkpointText, parseVerifierKey, type SigningKey, signNote, verifierKeyOf } from './checkpoint.ts';
import { cosign, encodeCosignerKey } from './cosignature.ts';
import {
  EVIDENCE_CHECKS,
  type EvidenceReport,
  type EvidenceTrust,
  verifyEvidence,
  withoutPrivate,
} from './evidence.ts';
import { parsePolicy } from './policy.ts';
import { leafHash, treeRoot } from './tree.ts';

const KEY = parseVerifierKey(vectors.checkpoint.verifier_key)!;
const TRUST: EvidenceTrust = { verifierKeys: [KEY] };
const [FIRST, ANCHORED, WITHHELD] = vectors.evidence.valid as [Evidence, Evidence, Evidence];

// biome-ignore lint/suspicious/noExplicitAny: evidence is JSON here, bent in every way
type Evidence = any;

/** The outcome of each check by name. */
function outcomes({ checks }: EvidenceReport): Record<string, string> {
  return Object.fromEntries(checks.map((check) => [check.name, check.outcome]));
}

function failures(report: EvidenceReport): string[] {
  return report.checks.filter((check) => check.outcome === 'failed').map((check) => check.name);
}

/** The vector with changes made by `bend`. */
function bent(evidence: Evidence, bend: (evidence: Evidence) => void): Evidence {
  const copy = structuredClone(evidence);
  bend(copy);
  return copy;
}

/** No policy asks for witnesses, and nobody asked a chain. */
const ALL_PASSED = {
  ...Object.fromEntries(
    Object.keys(EVIDENCE_CHECKS)
      .filter((name) => name !== 'on_chain')
      .map((name) => [name, 'passed']),
  ),
  witnesses: 'skipped',
};

describe('vectors', () => {
  test('valid: not anchored', () => {
    const report = verifyEvidence(FIRST, TRUST);
    expect(outcomes(report)).toEqual({ ...ALL_PASSED, anchor: 'skipped' });
    expect(report.verdict).toBe('valid');
  });

  test('valid: anchored', () => {
    const report = verifyEvidence(ANCHORED, TRUST);
    expect(outcomes(report)).toEqual(ALL_PASSED);
    expect(report.verdict).toBe('valid');
  });

  test('valid: private members withheld', () => {
    const report = verifyEvidence(WITHHELD, TRUST);
    expect(outcomes(report)).toEqual({ ...ALL_PASSED, private: 'skipped' });
    expect(report.verdict).toBe('valid');
  });

  test.each(vectors.evidence.invalid.map(({ fails, evidence }, index) => ({ index, fails, evidence })))(
    'invalid $index: $fails',
    ({ fails, evidence }) => {
      const report = verifyEvidence(evidence, TRUST);
      expect(failures(report)).toContain(fails);
      expect(report.verdict).toBe('invalid');
    },
  );

  test('without a trusted key the signer is unknown, and nothing else is in doubt', () => {
    for (const evidence of vectors.evidence.valid) {
      const report = verifyEvidence(evidence, { verifierKeys: [] });
      expect(report.verdict).toBe('unknown_signer');
      expect(failures(report)).toEqual([]);
      expect(outcomes(report).checkpoint).toBe('unknown_signer');
    }
  });

  test('with a fault and no trusted key it is invalid', () => {
    for (const { evidence, fails } of vectors.evidence.invalid) {
      if (fails === 'checkpoint') continue;
      expect(verifyEvidence(evidence, { verifierKeys: [] }).verdict).toBe('invalid');
    }
  });
});

describe('trust comes from the caller', () => {
  test('a key that the evidence brings along changes nothing', () => {
    const evidence = {
      ...ANCHORED,
      verifier_keys: [vectors.checkpoint.verifier_key],
      trust: { verifierKeys: [KEY] },
    };
    expect(verifyEvidence(evidence, { verifierKeys: [] }).verdict).toBe('unknown_signer');
  });

  test('a forger with a key of his own stays an unknown signer', () => {
    const forger = { name: KEY.name, seed: new Uint8Array(32).fill(9) };
    const forged = bent(FIRST, (evidence) => {
      evidence.checkpoint = signNote(vectors.checkpoint.text, forger);
    });
    expect(verifyEvidence(forged, TRUST).verdict).toBe('unknown_signer');
    expect(verifyEvidence(forged, { verifierKeys: [verifierKeyOf(forger)] }).verdict).toBe('valid');
  });

  test('a trusted key speaks for the log of its name only', () => {
    const witness = { name: 'witness.example.test', seed: new Uint8Array(32).fill(9) };
    const cosigned = bent(FIRST, (evidence) => {
      evidence.checkpoint = signNote(vectors.checkpoint.text, witness);
    });
    expect(verifyEvidence(cosigned, { verifierKeys: [verifierKeyOf(witness)] }).verdict).toBe(
      'unknown_signer',
    );
  });

  test('chain and contract must be those the caller knows', () => {
    const { chain_id: chainId, contract } = ANCHORED.anchor;
    const check = (anchor: { chainId: number; contract: string }) =>
      outcomes(verifyEvidence(ANCHORED, { ...TRUST, anchor })).anchor;
    expect(check({ chainId, contract })).toBe('passed');
    expect(check({ chainId, contract: `0x${contract.slice(2).toUpperCase()}` })).toBe('passed');
    expect(check({ chainId: chainId + 1, contract })).toBe('failed');
    expect(check({ chainId, contract: `0x${'0'.repeat(40)}` })).toBe('failed');
  });
});

describe('witnesses that a policy asks for', () => {
  const [one, two] = ['one.example.test', 'two.example.test'].map((name, index) => ({
    name,
    seed: new Uint8Array(32).fill(20 + index),
  })) as [SigningKey, SigningKey];
  const policy = parsePolicy(
    [
      `log ${vectors.checkpoint.verifier_key}`,
      `witness one ${encodeCosignerKey(verifierKeyOf(one))}`,
      `witness two ${encodeCosignerKey(verifierKeyOf(two))}`,
      'group both all one two',
      'quorum both\n',
    ].join('\n'),
  );
  const trust: EvidenceTrust = { ...TRUST, witnesses: policy };

  function cosignedBy(...witnesses: SigningKey[]): Evidence {
    return bent(FIRST, (evidence) => {
      for (const witness of witnesses)
        evidence.checkpoint += cosign(vectors.checkpoint.text, witness, 1_700_000_000);
    });
  }

  function witnessesOf(report: EvidenceReport) {
    return report.checks.find(({ name }) => name === 'witnesses');
  }

  test('are enough, and named', () => {
    const report = verifyEvidence(cosignedBy(one, two), trust);
    expect(report.verdict).toBe('valid');
    expect(witnessesOf(report)).toMatchObject({ outcome: 'passed', detail: 'cosigned by one, two' });
  });

  test('are too few', () => {
    const report = verifyEvidence(cosignedBy(two), trust);
    expect(report.verdict).toBe('unknown_signer');
    expect(witnessesOf(report)?.detail).toContain('both has 1 of 2, without one');
  });

  test('one whose cosignature does not hold', () => {
    const evidence = cosignedBy(one, two);
    evidence.checkpoint = cosignedBy(one).checkpoint + cosign('another\ntext\n', two, 1_700_000_000);
    const report = verifyEvidence(evidence, trust);
    expect(report.verdict).toBe('invalid');
    expect(witnessesOf(report)?.detail).toBe('the cosignature of two does not hold');
  });
});

describe('evidence without personal data', () => {
  test('proves as much, and shows none', () => {
    const evidence = withoutPrivate(ANCHORED);
    expect(JSON.stringify(ANCHORED)).toContain('Sarah Chen');
    expect(JSON.stringify(evidence)).not.toContain('Sarah Chen');
    expect(JSON.stringify(evidence)).not.toContain(ANCHORED.event.salt);
    expect(outcomes(verifyEvidence(evidence, TRUST))).toEqual({ ...ALL_PASSED, private: 'skipped' });
    expect(withoutPrivate(evidence)).toEqual(evidence);
  });

  test('is made of nothing but evidence', () => {
    for (const value of [null, {}, { ...ANCHORED, format: 'x' }])
      expect(() => withoutPrivate(value)).toThrow();
  });
});

test('every check that is told says what it proves', () => {
  for (const { name } of verifyEvidence(ANCHORED, TRUST).checks)
    expect(EVIDENCE_CHECKS[name].proves).toMatch(/\w/);
});

describe('each edit is found by the check that is there for it', () => {
  test.each<[string, string, (evidence: Evidence) => void]>([
    ['event_hash', 'a body edited', (e) => (e.event.body = e.event.body.replace('user_4', 'user_5'))],
    ['event_hash', 'a time edited', (e) => (e.event.created_at = '2026-03-15T14:32:20.347319Z')],
    ['event_hash', 'another previous hash', (e) => (e.event.previous_event_hash = '0'.repeat(64))],
    ['event_hash', 'another hash', (e) => (e.event.event_hash = '0'.repeat(64))],
    ['inclusion', 'another hash', (e) => (e.event.event_hash = '0'.repeat(64))],
    [
      'private',
      'a private text edited',
      (e) => (e.event.private = e.event.private.replace('Sarah', 'Clara')),
    ],
    ['private', 'another salt', (e) => (e.event.salt = '0'.repeat(32))],
    ['private', 'a salt withheld', (e) => delete e.event.salt],
    ['seq', 'another index', (e) => (e.inclusion.leaf_index = 7)],
    ['inclusion', 'another size', (e) => (e.inclusion.tree_size = 25)],
    ['inclusion', 'a path cut', (e) => e.inclusion.path.pop()],
    ['inclusion', 'a path made longer', (e) => e.inclusion.path.push('0'.repeat(64))],
    ['checkpoint', 'another size signed', (e) => (e.checkpoint = e.checkpoint.replace('\n24\n', '\n23\n'))],
    ['checkpoint', 'no note', (e) => (e.checkpoint = 'text')],
    ['workspace', 'no note', (e) => (e.checkpoint = 'text')],
    ['inclusion', 'no note', (e) => (e.checkpoint = 'text')],
    ['anchor', 'no note', (e) => (e.checkpoint = 'text')],
    ['anchor', 'another root', (e) => (e.anchor.anchor_root = '0'.repeat(64))],
    ['anchor', 'another leaf', (e) => (e.anchor.leaf_index = 1)],
    ['anchor', 'a path cut', (e) => e.anchor.path.pop()],
  ])('%s: %s', (name, _, bend) => {
    const report = verifyEvidence(bent(ANCHORED, bend), TRUST);
    expect(failures(report)).toContain(name);
    expect(report.verdict).toBe('invalid');
  });

  test('a salt without private members proves nothing and spoils nothing', () => {
    const evidence = bent(ANCHORED, ({ event }) => delete event.private);
    expect(outcomes(verifyEvidence(evidence, TRUST)).private).toBe('skipped');
  });
});

describe('a form that is not to the letter that of the format', () => {
  test.each<[string, (evidence: Evidence) => unknown]>([
    ['another format', (e) => (e.format = 'imk-evidence/v2')],
    ['no format', (e) => delete e.format],
    ['no event', (e) => delete e.event],
    ['an array for an event', (e) => (e.event = [])],
    ['no anchor', (e) => delete e.anchor],
    ['seq as text', (e) => (e.event.seq = '7')],
    ['seq 0', (e) => (e.event.seq = 0)],
    ['seq 1.5', (e) => (e.event.seq = 1.5)],
    ['seq beyond 2^53', (e) => (e.event.seq = 2 ** 53)],
    ['no previous hash after the first event', (e) => (e.event.previous_event_hash = null)],
    ['an empty previous hash', (e) => (e.event.previous_event_hash = '')],
    ['a hash in upper case', (e) => (e.event.event_hash = e.event.event_hash.toUpperCase())],
    ['a hash with a newline', (e) => (e.event.event_hash += '\n')],
    ['another spelling of the time', (e) => (e.event.created_at = '2026-03-15T14:32:20.347318+00:00')],
    ['a time that is none', (e) => (e.event.created_at = '2026-02-30T14:32:20.347318Z')],
    ['a body that is no text', (e) => (e.event.body = {})],
    ['a body with a lone surrogate', (e) => (e.event.body += '\ud800')],
    ['a salt of another length', (e) => (e.event.salt += '0')],
    ['a salt that reaches into the text', (e) => (e.event.salt = `${e.event.salt}\n{}`)],
    ['private members that are null', (e) => (e.event.private = null)],
    ['a negative index', (e) => (e.inclusion.leaf_index = -1)],
    ['a path that is no array', (e) => (e.inclusion.path = { length: 0 })],
    ['a path with something else', (e) => (e.inclusion.path[0] = null)],
    ['a path of a million', (e) => (e.inclusion.path = Array(1_000_000).fill('0'.repeat(64)))],
    ['a checkpoint that is no text', (e) => (e.checkpoint = null)],
    ['a contract that is no address', (e) => (e.anchor.contract = '\u001b[2J')],
    ['a transaction that is no hash', (e) => (e.anchor.tx_hash = '0x')],
    ['a block that is no number', (e) => (e.anchor.block_number = '1006')],
    ['a chain that is no number', (e) => delete e.anchor.chain_id],
  ])('%s', (_, bend) => {
    const report = verifyEvidence(bent(ANCHORED, bend), TRUST);
    expect(outcomes(report)).toEqual({ format: 'failed' });
    expect(report.verdict).toBe('invalid');
  });

  test('the first event with a previous hash', () => {
    const evidence = bent(FIRST, ({ event }) => {
      event.previous_event_hash = '0'.repeat(64);
    });
    expect(outcomes(verifyEvidence(evidence, TRUST))).toEqual({ format: 'failed' });
  });

  test.each([null, undefined, [], 'text', 7, {}, JSON.parse('{"__proto__":{"format":"imk-evidence/v1"}}')])(
    'or no evidence at all: %j',
    (value) => {
      expect(verifyEvidence(value, TRUST).verdict).toBe('invalid');
    },
  );
});

/** Evidence for a body or private text that no honest edge makes, in a log of one event, all of it signed. */
describe('a log that signs what it likes', () => {
  const signer = { name: 'log.example.test/ws_1', seed: new Uint8Array(32).fill(5) };
  const trust = { verifierKeys: [verifierKeyOf(signer)] };
  const salt = '0'.repeat(32);
  const createdAt = '2026-03-15T14:32:18.847312Z';

  function signed(body: string, privateText: string): Evidence {
    const hash = eventHash('', 1, createdAt, body);
    const root = treeRoot([leafHash(hexDecode(hash)!)]);
    return {
      format: 'imk-evidence/v1',
      event: {
        seq: 1,
        created_at: createdAt,
        previous_event_hash: null,
        event_hash: hash,
        body,
        private: privateText,
        salt,
      },
      inclusion: { leaf_index: 0, tree_size: 1, path: [] },
      checkpoint: signNote(checkpointText(signer.name, 1, root), signer),
      anchor: null,
    };
  }

  function bodyWith(privateText: string): string {
    return `{"private":"${privateDigest(privateText, salt)}","workspace_id":"ws_1"}`;
  }

  test('is believed for canonical texts', () => {
    expect(verifyEvidence(signed(bodyWith('{}'), '{}'), trust).verdict).toBe('valid');
  });

  test.each([
    ['a space', (body: string) => body.replace(',', ', ')],
    ['a member twice', (body: string) => body.replace('{', '{"private":"","private":"",')],
    ['members in another order', (body: string) => body.replace('{', '{"z":1,')],
    ['no object', () => '[]'],
    ['no JSON', () => '{'],
    ['deep nesting', () => '['.repeat(100_000) + ']'.repeat(100_000)],
  ])('is not for a body with %s', (_, spoil) => {
    expect(failures(verifyEvidence(signed(spoil(bodyWith('{}')), '{}'), trust))).toContain('event_hash');
  });

  test.each(['{ }', '[]', '{"a":1,"a":2}', 'null', '', '{"b":1,"a":2}'])(
    'is not for the private text %j',
    (text) => {
      expect(failures(verifyEvidence(signed(bodyWith(text), text), trust))).toEqual(['private']);
    },
  );
});

test('hashes are shown in lower-case hex', () => {
  const evidence = bent(FIRST, ({ event }) => {
    event.event_hash = '0'.repeat(64);
  });
  const [, check] = verifyEvidence(evidence, TRUST).checks;
  expect(check?.detail).toContain(hexEncode(hexDecode(FIRST.event.event_hash)!));
});
