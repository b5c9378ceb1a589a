import { ImmutableError } from '../../core/errors.ts';
import { withoutPrivate } from '../../core/evidence.ts';
import type { Terminal } from '../terminal.ts';
import { type ChainOptions, readNode, readPlace } from './chain.ts';
import { verifyFile } from './file.ts';
import { findKind } from './kind.ts';
import { verifyLive } from './live.ts';
import { pinnedPolicy } from './pin.ts';
import { parseLogUrl, readApiKey } from './remote-log.ts';
import { describeTold, EXIT_CODES, toldAsJson } from './report.ts';
import { readTrust, type TrustOptions } from './trust.ts';

export interface VerifyOptions extends TrustOptions, ChainOptions {
  /** A file, or the address of a live log. */
  target: string;
  /** Of an export or archive, where it does not stand beside it. */
  manifest?: string | undefined;
  /** Holds the API key of a live log. */
  keyFile?: string | undefined;
  /** Where a live log is remembered. */
  state?: string | undefined;
  onlyNew: boolean;
  watchSeconds?: number | undefined;
  json: boolean;
}

const WRONG_USAGE = 2;

/** The exit code: 0 everything holds, 1 something does not, 2 unknown signer or wrong usage. */
export async function verifyCommand(terminal: Terminal, options: VerifyOptions): Promise<number> {
  return await exitCodeOf(terminal, options.json, async () => {
    const anchor = readPlace(options);
    const node = options.rpc === undefined ? undefined : readNode(options.rpc);
    const trust = { ...readTrust(options), ...(anchor === undefined ? {} : { anchor }) };
    if (/^https?:\/\//.test(options.target)) {
      if (anchor !== undefined) throw onlyEvidence(options.target);
      return await verifyLive(terminal, trust, options);
    }
    const found = await findKind(options.target, options.manifest);
    if (anchor !== undefined && found.kind !== 'evidence') throw onlyEvidence(options.target);
    const told = await verifyFile(found, trust, { node, showProgress: !options.json });
    terminal.result(options.json ? toldAsJson(told) : describeTold(told));
    return EXIT_CODES[told.verdict];
  });
}

function onlyEvidence(target: string): ImmutableError {
  return new ImmutableError(
    'misconfigured',
    `--rpc, --chain-id and --contract are for evidence of an event, and ${target} is none.`,
  );
}

/** Prints evidence of the same event without its personal data. */
export async function redactCommand(
  terminal: Terminal,
  { target, json }: { target: string; json: boolean },
): Promise<number> {
  return await exitCodeOf(terminal, json, async () => {
    const found = await findKind(target, undefined);
    if (found.kind !== 'evidence') throw new ImmutableError('misconfigured', `${target} is no evidence.`);
    terminal.result(JSON.stringify(withoutPrivate(found.evidence), null, 2));
    return 0;
  });
}

/** Prints a policy with the keys that an install publishes of itself, to be compared with what is known elsewhere. */
export async function pinCommand(
  terminal: Terminal,
  { target, keyFile, json }: { target: string; keyFile: string | undefined; json: boolean },
): Promise<number> {
  return await exitCodeOf(terminal, json, async () => {
    terminal.result(await pinnedPolicy(parseLogUrl(target, readApiKey(keyFile))));
    return 0;
  });
}

async function exitCodeOf(terminal: Terminal, json: boolean, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ImmutableError) || error.code !== 'misconfigured') throw error;
    const { message, nextStep } = error;
    const facts = { error: 'wrong_usage', message, next_step: nextStep };
    terminal.say(
      json ? JSON.stringify(facts) : [message, ...(nextStep === undefined ? [] : [nextStep])].join('\n'),
    );
    return WRONG_USAGE;
  }
}
