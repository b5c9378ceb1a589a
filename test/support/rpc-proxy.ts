import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** An endpoint that stands before another one, and lies or fails as it is told. */
export interface RpcProxy {
  /** With a secret in its path, as those of providers have. */
  url: string;
  /** What it does from now on. */
  fault: RpcFault | undefined;
  /** The methods that it was asked, oldest first. */
  readonly asked: string[];
  stop(): Promise<void>;
}

export type RpcFault =
  /** Takes no connection's word: the line is cut. */
  | 'down'
  /** Never answers. */
  | 'silent'
  /** Sends a byte now and then. */
  | 'dripping'
  /** Answers with what is no JSON-RPC. */
  | 'garbage'
  /** Sends for ever. */
  | 'endless'
  | 'redirecting'
  /** Takes a transaction, passes it on, and cuts the line instead of answering. */
  | 'drops-sends-after-them'
  /** Takes this transaction, and passes it on to nobody. */
  | { keeps: string }
  /** Answers what it is told instead of what is behind it; undefined lets a call pass. */
  | { rewrite(method: string, answer: RpcBody, params: unknown[]): RpcBody | undefined };

export interface RpcBody {
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
}

export const PROXY_SECRET = 'k3y-of-wh0ever-pays';

const DRIP_MS = 20;

export async function startRpcProxy(target: string): Promise<RpcProxy> {
  const asked: string[] = [];
  const proxy = { url: '', fault: undefined as RpcFault | undefined, asked };
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${port}/v2/${PROXY_SECRET}`,
    stop: () => close(server),
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { fault } = proxy;
    const text = await bodyOf(request);
    const { id, method, params } = JSON.parse(text);
    asked.push(method);
    if (fault === 'down') return void request.socket.destroy();
    if (fault === 'silent') return;
    if (fault === 'garbage') return void response.end('<html>502 Bad Gateway</html>');
    if (fault === 'redirecting') {
      return void response.writeHead(307, { Location: target }).end();
    }
    response.setHeader('Content-Type', 'application/json');
    if (fault === 'dripping' || fault === 'endless') return await dribble(response, fault);
    const keepsIt = typeof fault === 'object' && 'keeps' in fault && method === 'eth_sendRawTransaction';
    const answer = keepsIt ? { result: fault.keeps } : await passOn(text);
    if (fault === 'drops-sends-after-them' && method === 'eth_sendRawTransaction') {
      return void request.socket.destroy();
    }
    const rewritten =
      typeof fault === 'object' && 'rewrite' in fault ? fault.rewrite(method, answer, params) : undefined;
    response.end(JSON.stringify({ jsonrpc: '2.0', id, ...(rewritten ?? answer) }));
  }

  async function dribble(response: ServerResponse, how: 'dripping' | 'endless'): Promise<void> {
    while (!response.destroyed) {
      const isTaken = response.write(how === 'dripping' ? ' ' : ' '.repeat(1024 ** 2));
      await sleep(how === 'dripping' || !isTaken ? DRIP_MS : 0);
    }
  }

  async function passOn(body: string): Promise<RpcBody> {
    const response = await fetch(target, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    });
    const { result, error } = JSON.parse(await response.text());
    return error === undefined ? { result } : { error };
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
