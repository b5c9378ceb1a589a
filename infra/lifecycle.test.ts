import { describe, expect, it } from 'vitest';
import { createLifecycle } from './lifecycle.ts';
import { createLogger } from './log.ts';

const log = createLogger('test', 'silent');

describe('createLifecycle', () => {
  it('stops last what was started first, one after the other', async () => {
    const lifecycle = createLifecycle(log);
    const order: string[] = [];
    for (const name of ['connection', 'server']) {
      lifecycle.onStop(name, async () => {
        order.push(`${name} stops`);
        await Promise.resolve();
        order.push(`${name} stopped`);
      });
    }
    await lifecycle.stop();
    expect(order).toEqual(['server stops', 'server stopped', 'connection stops', 'connection stopped']);
  });

  it('goes on after a step that fails', async () => {
    const lifecycle = createLifecycle(log);
    let closed = false;
    lifecycle.onStop('connection', () => {
      closed = true;
    });
    lifecycle.onStop('server', () => Promise.reject(new Error('stuck')));
    await lifecycle.stop();
    expect(closed).toBe(true);
  });

  it('stops once, however often it is asked', async () => {
    const lifecycle = createLifecycle(log);
    let stops = 0;
    lifecycle.onStop('server', () => {
      stops += 1;
    });
    await Promise.all([lifecycle.stop(), lifecycle.stop()]);
    await lifecycle.stop();
    expect(stops).toBe(1);
  });
});
