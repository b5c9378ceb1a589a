import { equalBytes, utf8Decode, utf8Encode } from './bytes.ts';
import {
  type Checkpoint,
  openNote,
  parseForeignCheckpoint,
  parseVerifierKey,
  type VerifierKey,
  verifyNote,
} from './checkpoint.ts';
import { type Cosignature, parseCosignerKey, verifyCosignatures } from './cosignature.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';

/**
 * C2SP tlog-policy: the file in which whoever verifies pins their trust. It names logs, witnesses, and how many
 * of which witnesses must have cosigned a checkpoint. Keys are Ed25519: signature type 0x01 for logs, 0x04 for
 * witnesses.
 */
export interface Policy {
  logs: PolicyLog[];
  witnesses: PolicyWitness[];
  quorum: Quorum;
}

export interface PolicyLog {
  /** Its name is the origin of the log's checkpoints. */
  key: VerifierKey;
  url: string | undefined;
}

export interface PolicyWitness {
  /** What the policy calls it; means nothing outside. */
  name: string;
  key: VerifierKey;
  /** The submission prefix of C2SP tlog-witness. */
  url: string | undefined;
}

export type Quorum =
  | { kind: 'none' }
  | { kind: 'witness'; name: string }
  /** At least `threshold` of the members. No name stands in two places of one tree. */
  | { kind: 'group'; name: string; threshold: number; members: Quorum[] };

const MAX_FILE_BYTES = 1024 * 1024;
/** Logs, witnesses and groups, each. The specification asks for 32. */
const MAX_DEFINITIONS = 256;

/**
 * Throws `validation_failed`, naming line and reason, for a file that is not to the letter of the specification:
 * what is trusted must not hang on how a mistake is read.
 */
export function parsePolicy(file: Uint8Array | string, hasher: Hasher = portableHasher): Policy {
  const octets = typeof file === 'string' ? utf8Encode(file) : file;
  if (octets.length > MAX_FILE_BYTES) throw invalid(`it has more than ${MAX_FILE_BYTES} bytes`);
  const draft: Draft = { logs: [], witnesses: [], groupCount: 0, defined: new Map(), members: new Set() };
  for (const [index, line] of linesOf(octets).entries()) {
    const problem = readLine(draft, line, hasher);
    if (problem !== null) throw invalid(`line ${index + 1}: ${problem}`);
  }
  const { logs, witnesses, quorum } = draft;
  if (quorum === undefined) throw invalid('it has no quorum line');
  return { logs, witnesses, quorum };
}

/** What the lines so far have said. */
interface Draft {
  logs: PolicyLog[];
  witnesses: PolicyWitness[];
  groupCount: number;
  /** By name: witnesses and groups share one name space. */
  defined: Map<string, Quorum>;
  /** Names that are in a group. */
  members: Set<string>;
  quorum?: Quorum;
}

/**
 * One character per octet: names are opaque octets, and only what is shown or compared with a note is decoded.
 */
function linesOf(octets: Uint8Array): string[] {
  let text = '';
  for (const octet of octets) text += String.fromCharCode(octet);
  const lines = text.split('\n');
  // A file that was cut off could otherwise ask for less than was written.
  if (lines.pop() !== '') throw invalid(`line ${lines.length + 1}: it does not end with a newline`);
  return lines;
}

/** Anything but tab, space, visible ASCII and octets with the high bit. */
const FORBIDDEN_OCTET = /[^\t -~\x80-\xff]/;
const NONE = 'none';

/** Adds what the line says; returns what is wrong with it, or null. */
function readLine(draft: Draft, line: string, hasher: Hasher): string | null {
  const forbidden = FORBIDDEN_OCTET.exec(line);
  if (forbidden !== null) return `octet 0x${hexOctet(forbidden[0])} is not allowed`;
  const [keyword, ...items] = line.split(/[\t ]+/).filter((item) => item !== '');
  if (keyword === undefined || keyword.startsWith('#')) return null;
  switch (keyword) {
    case 'log':
      return readLog(draft, items, hasher);
    case 'witness':
      return readWitness(draft, items, hasher);
    case 'group':
      return readGroup(draft, items);
    case 'quorum':
      return readQuorum(draft, items);
    default:
      return `"${shown(keyword)}" is none of log, witness, group, quorum`;
  }
}

function readLog({ logs }: Draft, [keyText, url, ...surplus]: string[], hasher: Hasher): string | null {
  if (keyText === undefined || surplus.length > 0) return 'a log is written: log <vkey> [<url>]';
  const key = parseVerifierKey(utf8Of(keyText), hasher);
  if (key === null) return `"${shown(keyText)}" is no Ed25519 key of a log (signature type 1)`;
  const twin = logs.find((log) => sameKey(log.key, key));
  if (twin !== undefined) return `the key is already that of log ${twin.key.name}`;
  if (logs.length === MAX_DEFINITIONS) return `there are more than ${MAX_DEFINITIONS} logs`;
  logs.push({ key, url: shownUrl(url) });
  return null;
}

function readWitness(draft: Draft, items: string[], hasher: Hasher): string | null {
  const [name, keyText, url, ...surplus] = items;
  if (name === undefined || keyText === undefined || surplus.length > 0)
    return 'a witness is written: witness <name> <vkey> [<url>]';
  const { witnesses } = draft;
  const key = parseCosignerKey(utf8Of(keyText), hasher);
  if (key === null) return `"${shown(keyText)}" is no Ed25519 key of a witness (signature type 4)`;
  const twin = witnesses.find((witness) => sameKey(witness.key, key));
  if (twin !== undefined) return `the key is already that of witness ${twin.name}`;
  if (witnesses.length === MAX_DEFINITIONS) return `there are more than ${MAX_DEFINITIONS} witnesses`;
  witnesses.push({ name: shown(name), key, url: shownUrl(url) });
  return define(draft, name, { kind: 'witness', name: shown(name) });
}

function readGroup(draft: Draft, [name, thresholdText, ...memberNames]: string[]): string | null {
  if (name === undefined || thresholdText === undefined || memberNames.length === 0)
    return 'a group is written: group <name> all|any|<number> <name>...';
  const threshold = thresholdOf(thresholdText, memberNames.length);
  if (threshold === null)
    return `"${shown(thresholdText)}" is neither all, any, nor a number from 1 to ${memberNames.length}`;
  const members: Quorum[] = [];
  for (const memberName of memberNames) {
    const member = draft.defined.get(memberName);
    if (member === undefined) return `"${shown(memberName)}" is not defined above`;
    // In two places, one witness could count for two.
    if (draft.members.has(memberName)) return `"${shown(memberName)}" is already a member of a group`;
    draft.members.add(memberName);
    members.push(member);
  }
  if (draft.groupCount === MAX_DEFINITIONS) return `there are more than ${MAX_DEFINITIONS} groups`;
  draft.groupCount += 1;
  return define(draft, name, { kind: 'group', name: shown(name), threshold, members });
}

function readQuorum(draft: Draft, [name, ...surplus]: string[]): string | null {
  if (name === undefined || surplus.length > 0) return 'the quorum is written: quorum <name>';
  if (draft.quorum !== undefined) return 'there is a quorum line above';
  const quorum: Quorum | undefined = name === NONE ? { kind: 'none' } : draft.defined.get(name);
  if (quorum === undefined) return `"${shown(name)}" is not defined above`;
  draft.quorum = quorum;
  return null;
}

function define({ defined }: Draft, name: string, meaning: Quorum): string | null {
  if (name === NONE) return '"none" cannot be a name';
  if (defined.has(name)) return `"${shown(name)}" is already defined`;
  defined.set(name, meaning);
  return null;
}

function thresholdOf(text: string, memberCount: number): number | null {
  if (text === 'all') return memberCount;
  if (text === 'any') return 1;
  const threshold = Number(text);
  return /^[1-9]\d*$/.test(text) && threshold <= memberCount ? threshold : null;
}

/** One public key under two names is still one signer. */
function sameKey(one: VerifierKey, other: VerifierKey): boolean {
  return equalBytes(one.publicKey, other.publicKey);
}

/** The text of octets in UTF-8; what is not UTF-8 names no key. */
function utf8Of(octetText: string): string {
  return utf8Decode(octetsOf(octetText)) ?? '';
}

/** Octets as a person reads them: one that is not UTF-8 as its number, and so is the backslash. */
function shown(octetText: string): string {
  const text = utf8Decode(octetsOf(octetText));
  if (text !== null && !text.includes('\\')) return text;
  return [...octetText].map((octet) => (/[!-[\]-~]/.test(octet) ? octet : `\\x${hexOctet(octet)}`)).join('');
}

function shownUrl(url: string | undefined): string | undefined {
  return url === undefined ? undefined : shown(url);
}

function octetsOf(octetText: string): Uint8Array {
  return Uint8Array.from(octetText, (octet) => octet.charCodeAt(0));
}

function hexOctet(octet: string): string {
  return octet.charCodeAt(0).toString(16).padStart(2, '0');
}

function invalid(problem: string): ImmutableError {
  return new ImmutableError('validation_failed', `The policy is invalid: ${problem}.`);
}

/** @param cosigned names of the witnesses that cosigned */
export function isSatisfied(quorum: Quorum, cosigned: ReadonlySet<string>): boolean {
  switch (quorum.kind) {
    case 'none':
      return true;
    case 'witness':
      return cosigned.has(quorum.name);
    case 'group':
      return countSatisfied(quorum.members, cosigned) >= quorum.threshold;
  }
}

function countSatisfied(members: readonly Quorum[], cosigned: ReadonlySet<string>): number {
  return members.filter((member) => isSatisfied(member, cosigned)).length;
}

/** A part of the quorum that lacks cosignatures. */
export interface QuorumGap {
  /** The group, or the witness itself. */
  name: string;
  needed: number;
  present: number;
  /** Any of these would help; the gaps of groups among them follow. */
  missing: string[];
}

/** What a quorum lacks, outermost first; nothing when it is satisfied. */
export function quorumGaps(quorum: Quorum, cosigned: ReadonlySet<string>): QuorumGap[] {
  if (quorum.kind === 'none' || isSatisfied(quorum, cosigned)) return [];
  const { name } = quorum;
  if (quorum.kind === 'witness') return [{ name, needed: 1, present: 0, missing: [name] }];
  const open = quorum.members.filter((member) => !isSatisfied(member, cosigned));
  const missing = open.flatMap((member) => (member.kind === 'none' ? [] : [member.name]));
  const gap = { name, needed: quorum.threshold, present: quorum.members.length - open.length, missing };
  const groups = open.filter((member) => member.kind === 'group');
  return [gap, ...groups.flatMap((group) => quorumGaps(group, cosigned))];
}

export interface PolicyCosignature {
  witness: PolicyWitness;
  /** Since 1970. */
  timestampSeconds: number;
}

export type PolicyVerdict =
  /** `cosignatures`: all by witnesses of the policy, also those beyond the quorum. */
  | { ok: true; checkpoint: Checkpoint; log: PolicyLog; cosignatures: PolicyCosignature[] }
  /** No signed note with a checkpoint. */
  | { ok: false; reason: 'malformed' }
  /** Not signed by a log of the policy whose name is the checkpoint's origin. */
  | { ok: false; reason: 'unknown_log'; origin: string }
  /** A signature that says it is by `signer`, of the policy, does not hold. */
  | { ok: false; reason: 'bad_signature'; signer: string }
  | {
      ok: false;
      reason: 'no_quorum';
      checkpoint: Checkpoint;
      log: PolicyLog;
      cosignatures: PolicyCosignature[];
      gaps: QuorumGap[];
    };

/** Checks that a checkpoint's note is signed by a log of the policy and cosigned by its quorum. */
export function checkPolicy(note: string, policy: Policy, hasher: Hasher = portableHasher): PolicyVerdict {
  const opened = openNote(note);
  const checkpoint = opened === null ? null : parseForeignCheckpoint(opened.text);
  if (checkpoint === null) return { ok: false, reason: 'malformed' };
  const log = signingLog(note, checkpoint.origin, policy, hasher);
  if ('reason' in log) return log;
  const cosignatures = witnessesOf(note, policy, hasher);
  if ('reason' in cosignatures) return cosignatures;
  const names = new Set(cosignatures.map(({ witness }) => witness.name));
  const facts = { checkpoint, log, cosignatures };
  return isSatisfied(policy.quorum, names)
    ? { ok: true, ...facts }
    : { ok: false, reason: 'no_quorum', ...facts, gaps: quorumGaps(policy.quorum, names) };
}

type Refusal = Extract<PolicyVerdict, { reason: 'malformed' | 'unknown_log' | 'bad_signature' }>;

/** One log cannot speak for another: a key counts for the origin that is its name. */
function signingLog(note: string, origin: string, policy: Policy, hasher: Hasher): PolicyLog | Refusal {
  const logs = policy.logs.filter(({ key }) => key.name === origin);
  const keys = logs.map(({ key }) => key);
  const signed = verifyNote(note, keys, hasher);
  if (!signed.ok && signed.reason === 'bad_signature')
    return { ok: false, reason: 'bad_signature', signer: origin };
  const log = signed.ok ? logs.find(({ key }) => key === signed.signedBy[0]) : undefined;
  return log ?? { ok: false, reason: 'unknown_log', origin };
}

function witnessesOf(note: string, policy: Policy, hasher: Hasher): PolicyCosignature[] | Refusal {
  const { witnesses } = policy;
  const keys = witnesses.map(({ key }) => key);
  const cosigned = verifyCosignatures(note, keys, hasher);
  if (cosigned.ok) return ofWitnesses(cosigned.cosignatures, witnesses);
  if (cosigned.reason === 'malformed') return cosigned;
  const signer = witnesses.find(({ key }) => key === cosigned.cosigner)?.name ?? cosigned.cosigner.name;
  return { ok: false, reason: 'bad_signature', signer };
}

function ofWitnesses(
  cosignatures: readonly Cosignature[],
  witnesses: readonly PolicyWitness[],
): PolicyCosignature[] {
  return cosignatures.flatMap(({ cosigner, timestampSeconds }) => {
    const witness = witnesses.find(({ key }) => key === cosigner);
    return witness === undefined ? [] : [{ witness, timestampSeconds }];
  });
}
