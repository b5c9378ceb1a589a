import { readFileSync } from 'node:fs';
import { ImmutableError } from '../core/errors.ts';
import { isSatisfied, type Policy, parsePolicy } from '../core/policy.ts';

/**
 * The operator's policy (C2SP tlog-policy): which witnesses are asked, and how many of them must have cosigned a
 * checkpoint before it is shown. Undefined without a file. Throws `misconfigured` for one that cannot be read, and for
 * a quorum that the witnesses with a URL can never be.
 */
export function readWitnessPolicy(path: string | undefined): Policy | undefined {
  if (path === undefined) return undefined;
  const policy = parse(path);
  const reachable = policy.witnesses.filter(({ url }) => url !== undefined).map(({ name }) => name);
  if (isSatisfied(policy.quorum, new Set(reachable))) return policy;
  throw new ImmutableError(
    'misconfigured',
    `IMMUTABLE_WITNESS_POLICY: the quorum of ${path} cannot be had.`,
    {
      nextStep: 'Give the witnesses it needs a URL at the end of their line.',
    },
  );
}

function parse(path: string): Policy {
  try {
    return parsePolicy(readFileSync(path));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ImmutableError('misconfigured', `IMMUTABLE_WITNESS_POLICY: ${path} cannot be used: ${why}`, {
      cause,
    });
  }
}
