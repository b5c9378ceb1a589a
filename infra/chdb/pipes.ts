import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';

/**
 * Named pipes that the engine writes query results into (`INTO OUTFILE`), so that a result streams in any
 * format, with backpressure, while the whole query, its analysis included, runs off our event loop. (The
 * binding's own `queryStream` analyses on the event loop and holds a lock of the binding meanwhile: a slow
 * scalar subquery stopped every insert for seconds. docs/decisions)
 */
export interface Pipes {
  /** Takes a free pipe; throws if there is none. */
  open(): Pipe;
}

export interface Pipe {
  /** For `INTO OUTFILE '<path>' APPEND`. */
  path: string;
  /** What was written; ends once `finish` was called and everything was read. */
  output: Socket;
  /** Nothing more will be written. */
  finish(): void;
}

export function createPipes(folder: string, count: number): Pipes {
  const free = Array.from({ length: count }, (_, index) => join(folder, `result-${index}`));
  execFileSync('mkfifo', ['-m', '600', ...free]);

  function open(): Pipe {
    const path = free.pop();
    if (path === undefined) throw new Error('every result pipe is taken');
    const { readEnd, writeEnd } = openOrGiveBack(path);
    const output = new Socket({ fd: readEnd, readable: true, writable: false });
    let openEnds = 2;
    // With both ends closed nothing of this result is left in the pipe.
    const closed = () => {
      openEnds -= 1;
      if (openEnds === 0) free.push(path);
    };
    let finished = false;
    output.once('close', closed);
    return {
      path,
      output,
      finish: () => {
        if (finished) return;
        finished = true;
        closeSync(writeEnd);
        closed();
      },
    };
  }

  function openOrGiveBack(path: string): { readEnd: number; writeEnd: number } {
    try {
      return openBothEnds(path);
    } catch (error) {
      free.push(path);
      throw error;
    }
  }

  return { open };
}

/** The write end is held until the query ended, so that the reader sees no end before the engine has opened the pipe. */
function openBothEnds(path: string): { readEnd: number; writeEnd: number } {
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return { readEnd, writeEnd: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) };
  } catch (error) {
    closeSync(readEnd);
    throw error;
  }
}
