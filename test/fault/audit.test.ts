import { expect, test } from 'vitest';
import { missingOrDoubled, type StoredEvent } from './audit.ts';
import { createLedger, type Ledger } from './client.ts';

const workspaceId = 'ws_0123456789abcdef';
const row = (id: string, key = ''): StoredEvent => ({
  workspace_id: workspaceId,
  id,
  resource_id: id,
  idempotency_key: key,
});

/** What the suite finds is only worth something if it would find what it looks for. */
function ledgerOf(...ids: string[]): Ledger {
  const ledger = createLedger();
  for (const id of ids) ledger.acknowledged.set(id, { workspaceId, marker: id, key: undefined });
  return ledger;
}

test('what was acknowledged and is stored once is fine, whatever else is stored', () => {
  expect(missingOrDoubled(ledgerOf('a', 'b'), [row('a'), row('b'), row('unacknowledged')])).toEqual([]);
});

test('an acknowledged event that is not stored is named', () => {
  expect(missingOrDoubled(ledgerOf('a', 'b'), [row('a')])).toEqual([
    'b (b) was acknowledged and is not stored',
  ]);
});

test('an event stored twice is named, and so is a key with two records', () => {
  expect(missingOrDoubled(ledgerOf('a'), [row('a'), row('a')])).toEqual(['a is stored 2 times']);
  expect(missingOrDoubled(ledgerOf(), [row('a', 'k'), row('b', 'k')])).toEqual([
    `the key ${workspaceId} k has more than one record`,
  ]);
});
