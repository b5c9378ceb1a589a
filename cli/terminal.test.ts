import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../core/errors.ts';
import { describeFailure, failureAsJson, table } from './terminal.ts';

const failure = new ImmutableError('misconfigured', 'Port 8080 is in use.', {
  nextStep: 'Set IMMUTABLE_PORT.',
  cause: new Error('EADDRINUSE'),
});

describe('a failure', () => {
  it('is a sentence and the next step, without a stack unless debugging', () => {
    expect(describeFailure(failure, false)).toBe('Port 8080 is in use.\nSet IMMUTABLE_PORT.');
    expect(describeFailure(failure, true)).toMatch(/Caused by: Error: EADDRINUSE\n +at /);
    expect(describeFailure(new TypeError('x is undefined'), false)).not.toContain(' at ');
  });

  it('is an object for programs', () => {
    expect(JSON.parse(failureAsJson(failure))).toEqual({
      error: 'misconfigured',
      message: 'Port 8080 is in use.',
      next_step: 'Set IMMUTABLE_PORT.',
    });
    expect(JSON.parse(failureAsJson(new Error('x')))).toEqual({ error: 'internal', message: 'x' });
  });
});

it('tables have columns as wide as their widest value', () => {
  expect(
    table(
      ['ID', 'NAME'],
      [
        ['1', 'a'],
        ['1000', ''],
      ],
    ),
  ).toBe('ID    NAME\n1     a\n1000');
});
