import { connect } from 'node:net';

const HEADER_END = Buffer.from('\r\n\r\n');
/** Data of every connection passes through this one buffer: a read is used up before the next begins. */
const READ_BUFFER = Buffer.allocUnsafe(256 * 1024);

export interface ConnectionEvents {
  /** One complete answer. `body` is only valid during the call. */
  onAnswer(status: number, body: Buffer): void;
  /** The connection broke, or what came is not HTTP/1.1 as we speak it. Called at most once. */
  onFailure(error: Error): void;
}

/** An HTTP/1.1 keep-alive connection that carries one request at a time. */
export interface Connection {
  send(request: Uint8Array): void;
  close(): void;
}

/**
 * The leanest client there is in Node, since whatever it spends is taken from the server beside it: no
 * headers object, no copies while an answer comes in one piece, no pipelining.
 */
export function openConnection(
  address: { host: string; port: number },
  events: ConnectionEvents,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let opened = false;
    let closed = false;
    let rest: Buffer | undefined;

    const fail = (error: Error) => {
      if (closed) return;
      closed = true;
      socket.destroy();
      if (opened) events.onFailure(error);
      else reject(error);
    };
    const receive = (piece: Buffer) => {
      const data = rest === undefined ? piece : Buffer.concat([rest, piece]);
      const answer = parseAnswer(data);
      if (answer === 'incomplete') {
        rest = rest === undefined ? Buffer.from(piece) : data;
        return;
      }
      rest = undefined;
      if (answer === 'unreadable') {
        fail(new Error(`not an answer: ${data.subarray(0, 200).toString('latin1')}`));
        return;
      }
      events.onAnswer(answer.status, answer.body);
    };

    const socket = connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length, buffer) => {
          receive(Buffer.from(buffer.buffer, buffer.byteOffset, length));
          return true;
        },
      },
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the server closed the connection')));
    socket.on('connect', () => {
      opened = true;
      resolve({
        send: (request) => socket.write(request),
        close: () => {
          closed = true;
          socket.destroy();
        },
      });
    });
  });
}

type Parsed = { status: number; body: Buffer } | 'incomplete' | 'unreadable';

/** Reads `HTTP/1.1 202 …`, a Content-Length and that many bytes; anything after them is not ours. */
export function parseAnswer(data: Buffer): Parsed {
  const headerEnd = data.indexOf(HEADER_END);
  if (headerEnd === -1) return data.length > 64 * 1024 ? 'unreadable' : 'incomplete';
  const head = data.toString('latin1', 0, headerEnd);
  const status = Number(head.slice(9, 12));
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (!head.startsWith('HTTP/1.1 ') || !(status >= 200) || length === undefined) return 'unreadable';
  const bodyStart = headerEnd + HEADER_END.length;
  const bodyEnd = bodyStart + Number(length);
  if (data.length < bodyEnd) return 'incomplete';
  if (data.length > bodyEnd) return 'unreadable';
  return { status, body: data.subarray(bodyStart, bodyEnd) };
}
