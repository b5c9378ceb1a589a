import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** A DNS server (RFC 1035, over UDP) that answers as it is told. */
export interface DnsServer {
  /** `127.0.0.1:port`, as a resolver takes it. */
  address: string;
  /** Every question that came, as `A name`. */
  questions: string[];
  close(): Promise<void>;
}

/** IPv4 addresses for the name, IPv6 for none; undefined: no such name; null: no answer at all. */
export type DnsAnswer = (name: string) => readonly string[] | undefined | null;

const TYPES = new Map([
  [1, 'A'],
  [28, 'AAAA'],
]);

export async function startDns(answer: DnsAnswer): Promise<DnsServer> {
  const socket = createSocket('udp4');
  const questions: string[] = [];
  socket.on('message', (query, { address, port }) => {
    const { name, end } = readName(query);
    const type = TYPES.get(query.readUInt16BE(end)) ?? 'other';
    questions.push(`${type} ${name}`);
    const addresses = type === 'A' ? answer(name) : [];
    if (addresses !== null) socket.send(reply(query, end + 4, addresses), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    address: `127.0.0.1:${socket.address().port}`,
    questions,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

function readName(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), end: at + 1 };
}

function reply(query: Buffer, questionEnd: number, addresses: readonly string[] | undefined): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(query.readUInt16BE(0), 0);
  header.writeUInt16BE(addresses === undefined ? 0x8183 : 0x8180, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(addresses?.length ?? 0, 6);
  const records = (addresses ?? []).map((address) =>
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]),
  );
  return Buffer.concat([header, query.subarray(12, questionEnd), ...records]);
}
