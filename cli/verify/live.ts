import { setTimeout as sleep } from 'node:timers/promises';
import { hexEncode } from '../../core/bytes.ts';
import { ImmutableError } from '../../core/errors.ts';
import { LOG_CHECKS, type LogReport, type LogState, verifyLog } from '../../core/log.ts';
import type { Trust } from '../../core/trust.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { Terminal } from '../terminal.ts';
import { createProgress } from './progress.ts';
import { parseLogUrl, type RemoteLog, readApiKey, remoteLog } from './remote-log.ts';
import { describeTold, EXIT_CODES, type Told, toldAsJson } from './report.ts';
import { defaultStateFile, readState, writeState } from './state-file.ts';

export interface LiveOptions {
  target: string;
  keyFile?: string | undefined;
  state?: string | undefined;
  onlyNew: boolean;
  watchSeconds?: number | undefined;
  json: boolean;
}

/** Visits a live log once, or again and again until something does not hold; gives the exit code. */
export async function verifyLive(terminal: Terminal, trust: Trust, options: LiveOptions): Promise<number> {
  const log = parseLogUrl(options.target, readApiKey(options.keyFile));
  const stateFile = options.state ?? defaultStateFile(log.url);
  const told = await visit(log, stateFile, trust, options.onlyNew, !options.json);
  terminal.result(options.json ? toldAsJson(told) : describeTold(told));
  if (options.watchSeconds === undefined || told.verdict !== 'valid') return EXIT_CODES[told.verdict];
  return await watch(terminal, log, stateFile, trust, options.watchSeconds, options.json);
}

/** A log that does not answer is asked again: that is no sign of a forgery. */
async function watch(
  terminal: Terminal,
  log: RemoteLog,
  stateFile: string,
  trust: Trust,
  seconds: number,
  json: boolean,
): Promise<number> {
  for (;;) {
    await sleep(seconds * 1000);
    try {
      const told = await visit(log, stateFile, trust, true, !json);
      if (json) terminal.result(toldAsJson(told));
      else if (told.verdict === 'valid') terminal.result(`✓ ${told.about.join('; ')}`);
      else terminal.result(describeTold(told));
      if (told.verdict !== 'valid') return EXIT_CODES[told.verdict];
    } catch (error) {
      if (!(error instanceof ImmutableError) || error.disposition !== 'retry') throw error;
      terminal.say(`${new Date().toISOString()} ${error.message} It is asked again in ${seconds} s.`);
    }
  }
}

async function visit(
  log: RemoteLog,
  stateFile: string,
  trust: Trust,
  onlyNew: boolean,
  showProgress: boolean,
): Promise<Told> {
  const state = readState(stateFile);
  const progress = createProgress(showProgress);
  const began = performance.now();
  try {
    const onProgress = (done: number, total: number) => progress.at(done, total, done);
    const report = await verifyLog(remoteLog(log), trust, { state, onlyNew, onProgress }, nativeHasher);
    if (report.state !== null) writeState(stateFile, report.state);
    return toldOf(report, state, stateFile, performance.now() - began);
  } finally {
    progress.stop();
  }
}

function toldOf(report: LogReport, before: LogState | null, stateFile: string, ms: number): Told {
  const { checkpoint, covered, state, verdict, checks } = report;
  const about =
    checkpoint === null
      ? ['This is no log.']
      : [
          `Log ${checkpoint.origin} at ${checkpoint.size.toLocaleString('en')} events, root ${hexEncode(checkpoint.root)}`,
          `${amount(covered.events, 'event')} and ${amount(covered.leafTiles, 'tile')} recomputed in ${(ms / 1000).toFixed(1)} s${grown(checkpoint.size, before)}`,
        ];
  const facts = {
    origin: checkpoint?.origin,
    tree_size: checkpoint?.size,
    size_before: before?.size ?? null,
    events: covered.events,
    first_seq: covered.firstSeq,
    erased: covered.erased,
    state_file: state === null ? null : stateFile,
  };
  return { kind: 'log', about, verdict, checks, meanings: LOG_CHECKS, facts };
}

function grown(size: number, before: LogState | null): string {
  if (before === null) return '';
  return `; ${Math.max(0, size - before.size).toLocaleString('en')} more than at the last visit`;
}

function amount(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}
