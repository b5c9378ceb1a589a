import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadPlan, LoadResult } from '../load/plan.ts';
import { runLoad } from '../load/run.ts';

/** The same load on the bare server, which runs in a process of its own as the product's edge does. */
export async function measureBareUws(plan: Omit<LoadPlan, 'host' | 'port'>): Promise<LoadResult> {
  const server = fork(fileURLToPath(new URL('./bare-uws.js', import.meta.url)), { stdio: 'inherit' });
  try {
    const port = await new Promise<number>((resolve, reject) => {
      server.once('message', (message: { port: number }) => resolve(message.port));
      server.once('exit', (code) => reject(new Error(`the bare server ended with code ${code}`)));
    });
    return await runLoad({ ...plan, host: '127.0.0.1', port });
  } finally {
    if (server.connected) server.disconnect();
  }
}
