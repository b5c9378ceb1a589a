import { expect, it } from 'vitest';
import { Counter, createMetrics } from './metrics.ts';

it('gives each role a registry of its own, labelled with its name', async () => {
  const registry = createMetrics('chain');
  new Counter({ name: 'immutable_test_total', help: 'A test.', registers: [registry] }).inc();
  const text = await registry.metrics();
  expect(text).toContain('immutable_test_total{role="chain"} 1');
  expect(text).toContain('process_cpu_seconds_total');
  expect(await createMetrics('serve').metrics()).not.toContain('immutable_test_total');
});
