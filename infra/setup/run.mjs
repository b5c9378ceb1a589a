import { spawn } from 'node:child_process';
import { SetupFailure } from './failure.mjs';

/** Programs that run at this moment, so that an interrupted set-up leaves none behind. */
const running = new Set();
let interrupted = false;

/**
 * Runs a program to its end and resolves to `{ code, stdout, output }` (`output` is both streams in
 * order). A program that is not there resolves with `code: 127`. Throws once the set-up was interrupted.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    if (interrupted) return reject(interruption());
    let stdout = '';
    let output = '';
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    const finish = (code) => {
      running.delete(child);
      if (interrupted) reject(interruption());
      else resolve({ code, stdout, output });
    };
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', (error) => {
      output += error.message;
      finish(127);
    });
    child.on('close', (code) => finish(code ?? 1));
  });
}

/** Ends what runs, and lets nothing start any more: every step fails, and removes its temporary files. */
export function interrupt() {
  interrupted = true;
  for (const child of running) child.kill('SIGTERM');
}

function interruption() {
  return new SetupFailure('Interrupted.', undefined, { exitCode: 130 });
}
