import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { type SigningKey, verifierKeyOf } from '../../core/checkpoint.ts';
import { cosign } from '../../core/cosignature.ts';
import { ImmutableError } from '../../core/errors.ts';
import { parseAddCheckpoint } from '../../core/witness-message.ts';
import { createSampleLog } from '../../test/support/log.ts';
import { submitCheckpoint } from './witness-client.ts';

const LOG = createSampleLog('audit.example.test/ws_1');
const WITNESS: SigningKey = { name: 'witness.example.test', seed: new Uint8Array(32).fill(2) };
const NOTE = LOG.noteOf(20);
const TEXT = `${NOTE.split('\n\n')[0]}\n`;
const stops: (() => void)[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** A witness that answers whatever a test wants; told are the bodies it got. */
async function hostile(listener: RequestListener): Promise<{ url: string; bodies: string[] }> {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => {
      body += piece;
    });
    request.on('end', () => {
      bodies.push(body);
      listener(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => server.close().closeAllConnections());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies };
}

function answering(status: number, body: string | Uint8Array, headers: Record<string, string> = {}) {
  return hostile((_, response) => response.writeHead(status, headers).end(body));
}

function submitTo(url: string, rememberedSize = 5, timeoutMs = 5_000) {
  const witness = { key: verifierKeyOf(WITNESS), url };
  return submitCheckpoint({ witness, note: NOTE, rememberedSize, proofFrom: LOG.proofFrom, timeoutMs });
}

const SIZE = { 'Content-Type': 'text/x.tlog.size' };

describe('a witness that behaves', () => {
  it('is given what the specification asks for', async () => {
    const { url, bodies } = await answering(200, cosign(TEXT, WITNESS, 1_700_000_000));
    expect(await submitTo(`${url}/`)).toEqual({
      kind: 'cosigned',
      line: cosign(TEXT, WITNESS, 1_700_000_000),
      size: 20,
      timestampSeconds: 1_700_000_000,
    });
    expect(parseAddCheckpoint(bodies[0]!)).toMatchObject({
      oldSize: 5,
      consistencyProof: await LOG.proofFrom(5, 20),
      note: NOTE,
    });
  });

  it('is asked for below its submission prefix', async () => {
    const paths: unknown[] = [];
    const { url } = await hostile((request, response) => {
      paths.push([request.method, request.url]);
      response.writeHead(200).end(cosign(TEXT, WITNESS, 1));
    });
    expect((await submitTo(`${url}/some/prefix/`)).kind).toBe('cosigned');
    expect((await submitTo(`${url}/some/prefix`)).kind).toBe('cosigned');
    expect(paths).toEqual([
      ['POST', '/some/prefix/add-checkpoint'],
      ['POST', '/some/prefix/add-checkpoint'],
    ]);
  });
});

describe('a witness that does not', () => {
  it('cosigns with another key, another name, or another text', async () => {
    for (const line of [
      cosign(TEXT, { ...WITNESS, seed: new Uint8Array(32).fill(3) }, 1),
      cosign(TEXT, { ...WITNESS, name: 'other.example.test' }, 1),
      cosign(TEXT.replace('\n20\n', '\n21\n'), WITNESS, 1),
    ]) {
      const { url } = await answering(200, line);
      expect(await submitTo(url)).toMatchObject({ kind: 'failed', reason: 'not_cosigned' });
    }
  });

  it('answers with anything but signature lines', async () => {
    for (const body of [
      '',
      'OK',
      `${NOTE}${cosign(TEXT, WITNESS, 1)}`,
      Uint8Array.of(0xe2, 0x80, 0x94, 0xff),
    ]) {
      const { url } = await answering(200, body);
      expect(await submitTo(url)).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    }
  });

  it('tells another size again and again', async () => {
    let size = 6;
    const { url, bodies } = await hostile((_, response) => {
      size += 1;
      response.writeHead(409, SIZE).end(`${size}\n`);
    });
    expect(await submitTo(url)).toMatchObject({ kind: 'failed', reason: 'unsettled' });
    expect(bodies.map((body) => parseAddCheckpoint(body)?.oldSize)).toEqual([5, 7, 8]);
  });

  it('says it knows the size it was asked with', async () => {
    const { url, bodies } = await answering(409, '5\n', SIZE);
    expect(await submitTo(url)).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    expect(bodies).toHaveLength(1);
  });

  it('does not answer in time, or not to its end', async () => {
    const silent = await hostile(() => {});
    const dripping = await hostile((_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('—'), 20);
      response.on('close', () => clearInterval(timer));
    });
    const broken = await hostile((_, response) => {
      response.writeHead(200, { 'Content-Length': '1000' }).write('— ');
      setTimeout(() => response.destroy(), 20);
    });
    for (const { url } of [silent, dripping, broken]) {
      const began = performance.now();
      expect(await submitTo(url, 5, 300)).toMatchObject({ kind: 'failed', reason: 'unreachable' });
      expect(performance.now() - began).toBeLessThan(2_000);
    }
    expect(await submitTo('http://127.0.0.1:1')).toMatchObject({ kind: 'failed', reason: 'unreachable' });
    expect(await submitTo('not a url')).toMatchObject({ kind: 'failed', reason: 'unreachable' });
  });

  it('answers with more than one can hold: it is not read to its end', async () => {
    let sent = 0;
    const endless = await hostile((_, response) => {
      response.writeHead(200);
      const piece = Buffer.alloc(64 * 1024, 'x');
      const more = () => {
        if (response.destroyed || sent > 1024 ** 3) return;
        sent += piece.length;
        if (response.write(piece)) setImmediate(more);
        else response.once('drain', more);
      };
      more();
    });
    expect(await submitTo(endless.url)).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    expect(sent).toBeLessThan(64 * 1024 * 1024);

    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
    const packed = await answering(200, bomb, { 'Content-Encoding': 'gzip' });
    const before = process.memoryUsage().rss;
    expect(await submitTo(packed.url)).toMatchObject({ kind: 'failed', reason: 'malformed_answer' });
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  it('sends one elsewhere: nobody else gets the checkpoint', async () => {
    const elsewhere = await answering(200, cosign(TEXT, WITNESS, 1));
    for (const status of [301, 302, 303, 307, 308]) {
      const { url } = await answering(status, '', { Location: `${elsewhere.url}/add-checkpoint` });
      expect(await submitTo(url)).toMatchObject({ kind: 'failed', reason: 'refused' });
    }
    expect(elsewhere.bodies).toEqual([]);
  });
});

it('rejects where the caller is wrong: no checkpoint, or no proof', async () => {
  const { url, bodies } = await answering(200, cosign(TEXT, WITNESS, 1));
  const witness = { key: verifierKeyOf(WITNESS), url };
  const noProof = async () => {
    throw new Error('the tiles are away');
  };
  await expect(
    submitCheckpoint({ witness, note: 'x', rememberedSize: 0, proofFrom: noProof }),
  ).rejects.toThrow(ImmutableError);
  await expect(
    submitCheckpoint({ witness, note: NOTE, rememberedSize: 5, proofFrom: noProof }),
  ).rejects.toThrow('the tiles are away');
  expect(bodies).toEqual([]);
});
