import { expect, test } from 'vitest';
import { dueWindows } from './window-recorder.ts';

const ID = 'ws_0000000000000001';

test.each([
  ['a workspace that keeps everything, and always has', { days: 0, revision: 7 }, undefined, undefined],
  ['the first retention', { days: 30, revision: 7 }, undefined, { days: 30, revision: 7 }],
  ['what is recorded', { days: 30, revision: 7 }, { days: 30, revision: 7 }, undefined],
  ['a change of something else', { days: 30, revision: 9 }, { days: 30, revision: 7 }, undefined],
  ['a change', { days: 90, revision: 9 }, { days: 30, revision: 7 }, { days: 90, revision: 9 }],
  ['a hold', { days: 0, revision: 9 }, { days: 30, revision: 7 }, { days: 0, revision: 9 }],
  ['a restored bucket', { days: 90, revision: 3 }, { days: 30, revision: 7 }, { days: 90, revision: 8 }],
])('%s', (_name, wanted, recorded, due) => {
  const known = new Map(recorded === undefined ? [] : [[ID, recorded]]);
  expect(dueWindows(new Map([[ID, wanted]]), known)).toEqual(due === undefined ? [] : [[ID, due]]);
});
