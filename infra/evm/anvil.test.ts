import { describe, expect, it } from 'vitest';
import { anvilSpec, findAnvil } from './anvil.ts';

describe('anvil', () => {
  it('that is not there is a clear message, and what to do', async () => {
    await expect(findAnvil([])).rejects.toMatchObject({
      code: 'misconfigured',
      message: 'There is no anvil on this machine.',
      nextStep: expect.stringContaining('npm install'),
    });
  });

  it('that does not run is told by its path', async () => {
    await expect(findAnvil(['/no/such/anvil'])).rejects.toMatchObject({
      message: expect.stringMatching(
        /^There is no anvil on this machine. \/no\/such\/anvil does not run: .*ENOENT/,
      ),
    });
  });

  it('listens on loopback, and gets none of our secrets', () => {
    const spec = anvilSpec({ bin: 'anvil', port: 1, chainId: 31_337, mining: 'at-once' });
    expect(spec.args.join(' ')).toBe(
      '--host 127.0.0.1 --port 1 --chain-id 31337 --slots-in-an-epoch 1 --no-cors --quiet',
    );
    expect(spec.inheritedEnv).not.toContain('IMMUTABLE_SECRET_KEY');
  });
});
