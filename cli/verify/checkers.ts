import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Section, Whole } from './section.ts';

/** What has fewer bytes is checked before threads have started. */
const MIN_BYTES_FOR_THREADS = 4 * 1024 * 1024;
const MAX_THREADS = 8;
/** So many sections are with a thread, so that it need not wait for the next. */
const SECTIONS_A_THREAD = 2;

/** Everything that a thread makes is soon gone: with more room for it than is usual it is copied less often. */
const YOUNG_MIB = 96;

/** Tests run the sources, of which a thread can only run what was built. */
const CHECKER = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/cli/verify/checker.js' : './checker.js',
  import.meta.url,
);

export interface CheckedSection {
  data: Uint8Array;
  section: Section;
}

/**
 * Has sections checked on every core, ahead of who reads them, and gives them in their order. Whoever gets one that was
 * not found sound looks at it again, and so finds out what is wrong: with it, or with the thread that died of it.
 * What `sections` throws is thrown behind the last.
 * @param bytes of all sections, more or less
 */
export async function* checkAhead(
  whole: Whole,
  sections: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<CheckedSection> {
  const cores = bytes < MIN_BYTES_FOR_THREADS ? 0 : Math.min(MAX_THREADS, availableParallelism());
  const threads = Array.from({ length: cores }, () => startThread(whole));
  const ahead: Promise<CheckedSection>[] = [];
  let given = 0;
  let failed: { error: unknown } | undefined;
  try {
    try {
      for await (const data of sections) {
        const thread = threads[given % threads.length];
        given += 1;
        ahead.push(checkedBy(thread, data));
        if (ahead.length > threads.length * SECTIONS_A_THREAD) yield* ahead.splice(0, 1);
      }
    } catch (error) {
      failed = { error };
    }
    yield* ahead;
  } finally {
    await Promise.all(threads.map((thread) => thread.stop()));
  }
  if (failed !== undefined) throw failed.error;
}

async function checkedBy(thread: Thread | undefined, data: Uint8Array): Promise<CheckedSection> {
  return { data, section: (await thread?.check(data)) ?? {} };
}

interface Thread {
  check(data: Uint8Array): Promise<Section>;
  stop(): Promise<unknown>;
}

function startThread(whole: Whole): Thread {
  const worker = new Worker(CHECKER, {
    workerData: whole,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  const waiting: ((section: Section) => void)[] = [];
  let hasEnded = false;
  function end(): void {
    hasEnded = true;
    for (const answer of waiting.splice(0)) answer({});
  }
  worker.on('message', (section: Section) => waiting.shift()?.(section));
  worker.on('error', end);
  worker.on('exit', end);
  return {
    async check(data) {
      if (hasEnded) return {};
      return await new Promise((resolve) => {
        waiting.push(resolve);
        worker.postMessage(data);
      });
    },
    stop: () => worker.terminate(),
  };
}
