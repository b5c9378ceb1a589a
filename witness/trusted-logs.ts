import { isKeyName, type VerifierKey } from '../core/checkpoint.ts';

/** The logs that a witness follows. */
export interface TrustedLogs {
  /** Each by its origin, which is the name of its key. */
  logs: readonly VerifierKey[];
  families: readonly LogFamily[];
}

/** All logs of one installation: `<name>/<workspace id>`, with one public key under as many names. */
export interface LogFamily {
  name: string;
  /** 32 bytes. */
  publicKey: Uint8Array;
}

/** The keys by which a checkpoint of that origin may be signed; none if it is not followed. */
export function keysOf({ logs, families }: TrustedLogs, origin: string): VerifierKey[] {
  const ofFamilies = families
    .filter(({ name }) => isMember(name, origin))
    .map(({ publicKey }) => ({ name: origin, publicKey }));
  return [...logs.filter(({ name }) => name === origin), ...ofFamilies];
}

/** One segment below the name, so that a family within another is no member of it. */
function isMember(name: string, origin: string): boolean {
  if (!origin.startsWith(`${name}/`) || !isKeyName(origin)) return false;
  const segment = origin.slice(name.length + 1);
  return segment !== '' && !segment.includes('/');
}
