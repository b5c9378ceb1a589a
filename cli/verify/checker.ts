import { parentPort, workerData } from 'node:worker_threads';
import { checkSection, type Whole } from './section.ts';

/** A thread that checks sections, one after another: bytes come in, a `Section` for each goes out. */
const whole: Whole = workerData;

parentPort?.on('message', (data: Uint8Array) => parentPort?.postMessage(checkSection(whole, data)));
