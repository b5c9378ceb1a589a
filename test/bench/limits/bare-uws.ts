import { App, type HttpResponse, us_listen_socket_close, us_socket_local_port } from 'uWebSockets.js';

/**
 * The most any edge built on uWebSockets.js could do: reads the body, parses the JSON, answers as the
 * product does, and keeps nothing. A process of its own; tells its parent the port.
 */
const ANSWER = JSON.stringify({ id: '0195d3c0-7c2e-7e11-a7b9-1c2d3e4f5a6b', status: 'queued' });

let bytesKept = 0;
App()
  .post('/api/v1/events', (response, request) => {
    request.getHeader('authorization');
    readBody(response, (body) => {
      const event: unknown = JSON.parse(body.toString('utf8'));
      if (typeof event === 'object') bytesKept += body.length;
      response.cork(() => {
        response.writeStatus('202 Accepted').writeHeader('content-type', 'application/json').end(ANSWER);
      });
    });
  })
  .listen('127.0.0.1', 0, (socket) => {
    if (socket === false) throw new Error('no port to listen on');
    process.send?.({ port: us_socket_local_port(socket) });
    process.on('disconnect', () => {
      us_listen_socket_close(socket);
      process.exit(bytesKept >= 0 ? 0 : 1);
    });
  });

function readBody(response: HttpResponse, done: (body: Buffer) => void): void {
  let head: Buffer | undefined;
  response.onAborted(() => {});
  response.onData((piece, last) => {
    if (!last) head = Buffer.concat(head === undefined ? [Buffer.from(piece)] : [head, Buffer.from(piece)]);
    else done(head === undefined ? Buffer.from(piece) : Buffer.concat([head, Buffer.from(piece)]));
  });
}
