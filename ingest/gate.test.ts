import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import type { OnChange } from '../infra/nats/kv.ts';
import { type Gate, publishWhileOpen, watchGate } from './gate.ts';

const log = pino({ level: 'silent' });
const alarm = (key: string) => ({ key, value: { message: 'stream made anew' }, revision: 1 });

let gate: Gate | undefined;
afterEach(() => gate?.stop());

async function setUp() {
  const world = { connected: true, syncs: true, skewMs: 0, clockAnswers: true, lost: '' };
  let onRestored = () => {};
  let onAlarm: OnChange = () => {};
  gate = await watchGate({
    connection: {
      connected: () => world.connected,
      onRestored: (listener) => {
        onRestored = listener;
        return () => {};
      },
    },
    checkSync: async () => {
      if (!world.syncs) throw new Error('http://10.0.0.1:8222 does not sync');
    },
    streamProblem: async () => (world.lost === '' ? undefined : world.lost),
    clockSkewMs: async () => {
      if (!world.clockAnswers) throw new Error('timeout');
      return world.skewMs;
    },
    alarms: {
      watch: async (onChange) => {
        onAlarm = onChange;
        return async () => {};
      },
    },
    log,
    retryMs: 5,
    storeCheckMs: 10,
  });
  return {
    world,
    gate,
    restored: () => onRestored(),
    tell: (...change: Parameters<OnChange>) => onAlarm(...change),
  };
}

const reasonOf = (open: Gate, partition = 0) => open.refusal(partition)?.message;

describe('the gate', () => {
  it('is open when all is well', async () => {
    const { gate } = await setUp();
    expect(gate.refusal(0)).toBeUndefined();
    expect(gate.problems()).toEqual([]);
  });

  it('closes while NATS is away, and until it has been checked again', async () => {
    const { gate, world, restored } = await setUp();
    world.connected = false;
    expect(gate.refusal(0)).toMatchObject({ code: 'unavailable', retryAfterSeconds: 5 });
    expect(reasonOf(gate)).toContain('cannot be reached');
    expect(gate.problems().length).toBe(1);
    world.connected = true;
    world.syncs = false;
    restored();
    expect(reasonOf(gate)).toContain('has not been checked since');
    await delay(2);
    expect(reasonOf(gate)).toContain('may not keep');
    expect(reasonOf(gate)).not.toContain('10.0.0.1');
    world.syncs = true;
    await delay(40);
    expect(gate.refusal(0)).toBeUndefined();
  });

  it('closes when the clock runs away, and opens when it is back', async () => {
    const { gate, world } = await setUp();
    world.skewMs = -5_001;
    await delay(40);
    expect(reasonOf(gate)).toContain('5 s apart');
    world.skewMs = 4_999;
    await delay(40);
    expect(gate.refusal(0)).toBeUndefined();
  });

  it('closes when the stream lost what it acknowledged, whether or not the connection was lost', async () => {
    const { gate, world, restored } = await setUp();
    world.lost = 'It went back.';
    await delay(40);
    expect(reasonOf(gate)).toContain('It went back.');
    world.lost = '';
    await delay(40);
    expect(gate.refusal(0)).toBeUndefined();
    world.lost = 'It went back.';
    restored();
    await delay(2);
    expect(reasonOf(gate)).toContain('It went back.');
  });

  it('stays open over one slow answer', async () => {
    const { gate, world } = await setUp();
    world.clockAnswers = false;
    await delay(40);
    expect(gate.refusal(0)).toBeUndefined();
  });

  it('closes for the partition whose chain is stopped', async () => {
    const { gate, tell } = await setUp();
    tell('partition.3', alarm('partition.3'));
    tell('quarantine.2', alarm('quarantine.2'));
    expect(reasonOf(gate, 3)).toContain('stopped');
    expect(gate.refusal(2)).toBeUndefined();
    expect(gate.problems()).toEqual([]);
    tell('partition.3', undefined);
    expect(gate.refusal(3)).toBeUndefined();
  });
});

describe('publishing', () => {
  it('is held back while the gate is closed: a repetition must not reach a server that was not checked', async () => {
    const { gate, world, restored } = await setUp();
    let published = 0;
    const publish = publishWhileOpen(gate, async () => {
      published += 1;
      return { kind: 'already_stored' };
    });
    expect(await publish([])).toEqual({ kind: 'already_stored' });
    world.syncs = false;
    restored();
    expect(await publish([])).toMatchObject({ kind: 'unknown' });
    await delay(20);
    expect(await publish([])).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('may not') });
    expect(published).toBe(1);
    world.syncs = true;
    await delay(40);
    await publish([]);
    expect(published).toBe(2);
  });

  it('goes on where only the chain of a partition is stopped: what was taken is answered', async () => {
    const { gate, tell } = await setUp();
    tell('partition.3', alarm('partition.3'));
    const publish = publishWhileOpen(gate, async () => ({ kind: 'already_stored' }));
    expect(await publish([])).toEqual({ kind: 'already_stored' });
  });
});
