import { describe, expect, it } from 'vitest';
import { environmentOf } from './spec.ts';

describe('the environment of a child', () => {
  const parent = { PATH: '/bin', IMMUTABLE_S3_SECRET: 'secret', EMPTY: undefined };

  it('is its parent’s, and what it is given', () => {
    expect(environmentOf({ env: { PORT: '1', PATH: '/own' } }, parent)).toEqual({
      PATH: '/own',
      PORT: '1',
      IMMUTABLE_S3_SECRET: 'secret',
    });
  });

  it('has nothing else of its parent’s than what it is told to inherit', () => {
    const spec = { env: { PORT: '1' }, inheritedEnv: ['PATH', 'HOME'] };
    expect(environmentOf(spec, parent)).toEqual({ PATH: '/bin', PORT: '1' });
  });
});
