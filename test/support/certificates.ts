import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** Certificates made at run time: an authority of our own, and what it vouches for (X.509, RFC 5280, in DER). */

export interface Authority {
  /** PEM, for whoever is to trust it. */
  certificate: string;
  /** @param names host names and IPv4 addresses */
  issue(names: readonly string[]): { cert: string; key: string };
}

export function createAuthority(): Authority {
  const authority = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const name = distinguishedName('Test Authority');
  const isAuthority = extension('2.5.29.19', sequence(boolean(true)), true);
  const build = (subject: Buffer, key: KeyObject, extensions: Buffer[]) =>
    certificate({ issuer: name, subject, key, extensions, signer: authority.privateKey });
  return {
    certificate: build(name, authority.publicKey, [isAuthority]),
    issue(names) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const alternatives = extension('2.5.29.17', sequence(...names.map(generalName)), false);
      return {
        cert: build(distinguishedName(names[0] ?? 'nobody'), publicKey, [alternatives]),
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      };
    },
  };
}

interface Facts {
  issuer: Buffer;
  subject: Buffer;
  key: KeyObject;
  extensions: Buffer[];
  signer: KeyObject;
}

const DAY_MS = 86_400_000;

function certificate({ issuer, subject, key, extensions, signer }: Facts): string {
  const algorithm = sequence(objectId('1.2.840.10045.4.3.2')); // ECDSA with SHA-256
  const facts = sequence(
    tagged(0xa0, integer(Buffer.of(2))), // version 3
    integer(Buffer.concat([Buffer.of(1), randomBytes(15)])),
    algorithm,
    issuer,
    sequence(time(Date.now() - DAY_MS), time(Date.now() + DAY_MS)),
    subject,
    key.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions)),
  );
  const signature = tagged(0x03, Buffer.of(0), sign('sha256', facts, signer));
  const text = sequence(facts, algorithm, signature).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${text.replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`;
}

function distinguishedName(commonName: string): Buffer {
  const attribute = sequence(objectId('2.5.4.3'), tagged(0x0c, Buffer.from(commonName)));
  return sequence(tagged(0x31, attribute));
}

function generalName(name: string): Buffer {
  const isAddress = /^[\d.]+$/.test(name);
  return isAddress ? tagged(0x87, Buffer.from(name.split('.').map(Number))) : tagged(0x82, Buffer.from(name));
}

function extension(id: string, value: Buffer, isCritical: boolean): Buffer {
  return sequence(objectId(id), ...(isCritical ? [boolean(true)] : []), tagged(0x04, value));
}

function time(ms: number): Buffer {
  const text = new Date(ms)
    .toISOString()
    .replace(/[-:T]|\.\d+/g, '')
    .slice(2);
  return tagged(0x17, Buffer.from(text));
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

function boolean(value: boolean): Buffer {
  return tagged(0x01, Buffer.of(value ? 0xff : 0));
}

/** @param magnitude positive, the first byte below 128 */
function integer(magnitude: Buffer): Buffer {
  return tagged(0x02, magnitude);
}

function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  return tagged(0x06, Buffer.of(40 * first + second, ...rest.flatMap(base128)));
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}

function tagged(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}
