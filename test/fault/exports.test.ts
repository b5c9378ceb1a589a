import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FORMATS, type Format } from '../../query/export/format.ts';
import { type ExportJobs, openExportJobs } from '../../query/export/jobs.ts';
import {
  type ExportWorld,
  log,
  madeOf,
  mortal,
  startExportProcess,
  startExportWorld,
  untilEnded,
} from '../support/exports.ts';
import { chainEvents, insertSeeded, randomFrom, variedEvents } from '../support/seed.ts';
import { faultForm } from './form.ts';

const WORKSPACE = 'ws_00000000000000a1';
const { isLong } = faultForm();

let world: ExportWorld;
let observer: ExportJobs;

beforeAll(async () => {
  world = await startExportWorld();
  observer = await openExportJobs(world.bucket, { log });
  await insertSeeded(world.writer, chainEvents(WORKSPACE, variedEvents(250, randomFrom(1))));
});

afterAll(async () => {
  await observer?.stop();
  await world?.stop();
});

function ask(workspaceId: string, format: Format) {
  return observer.create(workspaceId, { format, filters: {}, bom: false });
}

/** No signs of life, which would be effects that come whenever they like. */
const RESTING = { beatMs: 1_000_000 };

describe('a process that dies at any step', () => {
  test.each(FORMATS)('leaves a %s file that its successor makes with the very same bytes', async (format) => {
    // What stands after one step stands before the next: both are worth their time in the long form only.
    const sides: ('before' | 'after')[] = isLong || format === 'csv' ? ['before', 'after'] : ['before'];
    const whole = mortal(world, undefined);
    const first = await startExportProcess(world, { ...whole, timing: RESTING });
    const reference = madeOf(world, await untilEnded(observer, (await ask(WORKSPACE, format)).id));
    await first.stop();
    expect(reference.manifest).toMatchObject({ rows: 250, complete: true });
    const steps = whole.effects();
    // The claim, the beginning, three parts, the file, the parts' removal, the manifest, the end.
    expect(steps).toBeGreaterThanOrEqual(11);

    for (let at = 1; at <= steps; at += 1) {
      for (const side of sides) {
        const { id } = await ask(WORKSPACE, format);
        const life = mortal(world, { at, side });
        const former = await startExportProcess(world, { ...life, instance: 'one', timing: RESTING });
        await life.death;
        await former.stop();
        const successor = await startExportProcess(world, { instance: 'one', timing: RESTING });
        expect(madeOf(world, await untilEnded(observer, id)), `${side} step ${at}`).toEqual(reference);
        await successor.stop();
      }
    }
  });
});
