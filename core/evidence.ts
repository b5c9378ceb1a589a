import { verifyAnchorPath } from './anchor.ts';
import { hexDecode } from './bytes.ts';
import { privateDigest } from './canonical.ts';
import { eventHash } from './chain.ts';
import { type Checkpoint, openNote, parseCheckpoint, workspaceOf } from './checkpoint.ts';
import { type Check, type CheckMeanings, type Report, verdictOf } from './checks.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { canonicalJson, isJsonObject, type JsonObject } from './json.ts';
import { type AnchoredRoot, type ChainPlace, checkOnChain, type OnChainAnswers } from './on-chain.ts';
import { isCanonicalTimestamp, parseTimestamp } from './time.ts';
import { type InclusionProof, leafHash, verifyInclusion } from './tree.ts';
import { checkSigner, checkWitnesses, SIGNATURE_CHECKS, type Trust } from './trust.ts';

export const EVIDENCE_FORMAT = 'imk-evidence/v1';

/** Every check, in the order in which they are told. */
export const EVIDENCE_CHECKS = {
  format: { proves: 'the file is complete and each of its values has the form the format asks for' },
  event_hash: {
    proves: 'the event hash is that of this body, number, time and previous hash: none of them was edited',
    not: 'that what the body says was true when it was recorded',
  },
  private: { proves: 'the private members are those the event was recorded with' },
  workspace: { proves: 'the event belongs to the workspace that the checkpoint speaks for' },
  seq: { proves: 'the number of the event is its place in the log' },
  inclusion: {
    proves: 'the event is in the log of which the checkpoint states size and root',
    not: 'anything of the other events of the log',
  },
  ...SIGNATURE_CHECKS,
  anchor: {
    proves: 'the checkpoint is one of those under the root that the file names',
    not: 'that the root is on the chain: ask a node, or look it up',
    notUnless: 'on_chain',
  },
  /** Only where it was asked for. */
  on_chain: {
    proves:
      'the contract that you trust wrote this root into a block of the chain: the checkpoint is at least as old as that block',
    not: 'more than the node says that was asked: with somebody else’s node you trust them, with your own nobody',
  },
} as const satisfies CheckMeanings<string>;

export type EvidenceCheckName = keyof typeof EVIDENCE_CHECKS;
export type EvidenceCheck = Check<EvidenceCheckName>;
export type EvidenceReport = Report<EvidenceCheckName>;

export interface EvidenceTrust extends Trust {
  /** Where the operator anchors; unless given, only the path to the anchor's root is checked. */
  anchor?: ChainPlace;
  /** What a node of that chain answered to `onChainQuestions`; then it is checked that the root is on the chain. */
  onChain?: OnChainAnswers;
}

/**
 * Checks an evidence file offline, whatever it holds. Without a trusted key that signed its checkpoint the
 * verdict is at best `unknown_signer`. That the anchor's root is on the chain is checked by what a node answers, which
 * the caller asks.
 */
export function verifyEvidence(
  evidence: unknown,
  trust: EvidenceTrust,
  hasher: Hasher = portableHasher,
): EvidenceReport {
  const parsed = readEvidence(evidence);
  if (parsed instanceof ImmutableError)
    return { verdict: 'invalid', checks: [failed('format', parsed.message)] };
  const note = openNote(parsed.checkpoint);
  const checkpoint = note === null ? null : parseCheckpoint(note.text);
  const checks = [
    passed('format'),
    checkEventHash(parsed.event, hasher),
    checkPrivate(parsed.event, hasher),
    checkWorkspace(parsed.event, checkpoint),
    checkSeq(parsed),
    checkInclusion(parsed, checkpoint, hasher),
    checkCheckpoint(parsed.checkpoint, checkpoint, trust, hasher),
    witnessesCheck(parsed.checkpoint, trust, hasher),
    checkAnchor(parsed.anchor, note?.text ?? null, trust, hasher),
    ...onChainCheck(parsed.anchor, trust),
  ];
  return { verdict: verdictOf(checks), checks };
}

/** What evidence says was anchored, and by which transaction; null where nothing is, or it is not evidence. */
export function anchoredRootOf(evidence: unknown): AnchoredRoot | null {
  const parsed = readEvidence(evidence);
  return parsed instanceof ImmutableError ? null : parsed.anchor;
}

/**
 * The same evidence without the private members and their salt: it proves as much, and shows no personal data.
 * Throws `validation_failed` for what has not the form of evidence.
 */
export function withoutPrivate(evidence: unknown): JsonObject {
  parseEvidence(evidence);
  const file = readObject(evidence, 'the file');
  const { private: _private, salt: _salt, ...event } = readObject(file.event, 'event');
  return { ...file, event };
}

function checkEventHash(event: EvidenceEvent, hasher: Hasher): EvidenceCheck {
  const previous = event.previous_event_hash ?? '';
  const hash = eventHash(previous, event.seq, event.created_at, event.body, hasher);
  if (hash !== event.event_hash) return failed('event_hash', `the hash is ${hash}, not ${event.event_hash}`);
  // Two programs could read two things out of one text that is not canonical.
  if (readCanonicalObject(event.body) === null) return failed('event_hash', 'the body is not canonical JSON');
  return passed('event_hash');
}

function checkPrivate(event: EvidenceEvent, hasher: Hasher): EvidenceCheck {
  if (event.private === undefined) return skipped('private', 'the private members are withheld');
  if (event.salt === undefined)
    return failed('private', 'the salt is missing, without which they cannot be checked');
  const digest = privateDigest(event.private, event.salt, hasher);
  if (digest !== readCanonicalObject(event.body)?.private) {
    return failed('private', `their digest is ${digest}, which is not the one in the body`);
  }
  if (readCanonicalObject(event.private) === null) return failed('private', 'they are not canonical JSON');
  return passed('private');
}

function checkWorkspace(event: EvidenceEvent, checkpoint: Checkpoint | null): EvidenceCheck {
  if (checkpoint === null) return failed('workspace', UNREADABLE_CHECKPOINT);
  const workspaceId = readCanonicalObject(event.body)?.workspace_id;
  if (workspaceId === workspaceOf(checkpoint)) return passed('workspace');
  return failed(
    'workspace',
    `the event is of ${JSON.stringify(workspaceId)}, the checkpoint of ${JSON.stringify(workspaceOf(checkpoint))}`,
  );
}

function checkSeq({ event, inclusion }: Evidence): EvidenceCheck {
  if (event.seq === inclusion.leafIndex + 1) return passed('seq');
  return failed('seq', `event ${event.seq} cannot be leaf ${inclusion.leafIndex}`);
}

function checkInclusion(
  { event, inclusion }: Evidence,
  checkpoint: Checkpoint | null,
  hasher: Hasher,
): EvidenceCheck {
  if (checkpoint === null) return failed('inclusion', UNREADABLE_CHECKPOINT);
  if (inclusion.treeSize !== checkpoint.size) {
    return failed(
      'inclusion',
      `the path is for size ${inclusion.treeSize}, the checkpoint for ${checkpoint.size}`,
    );
  }
  const hash = hexDecode(event.event_hash);
  const holds = hash !== null && verifyInclusion(leafHash(hash, hasher), inclusion, checkpoint.root, hasher);
  return holds
    ? passed('inclusion')
    : failed('inclusion', 'the path does not lead to the root of the checkpoint');
}

function checkCheckpoint(
  note: string,
  checkpoint: Checkpoint | null,
  trust: EvidenceTrust,
  hasher: Hasher,
): EvidenceCheck {
  if (checkpoint === null) return failed('checkpoint', UNREADABLE_CHECKPOINT);
  return { name: 'checkpoint', ...checkSigner(note, checkpoint, trust, hasher) };
}

function witnessesCheck(note: string, trust: EvidenceTrust, hasher: Hasher): EvidenceCheck {
  return { name: 'witnesses', ...checkWitnesses(note, trust, hasher) };
}

function checkAnchor(
  anchor: EvidenceAnchor | null,
  checkpointText: string | null,
  trust: EvidenceTrust,
  hasher: Hasher,
): EvidenceCheck {
  if (anchor === null)
    return skipped('anchor', 'the event is not anchored, or was not when the file was made');
  if (checkpointText === null) return failed('anchor', UNREADABLE_CHECKPOINT);
  if (!verifyAnchorPath(checkpointText, anchor.proof, anchor.root, hasher)) {
    return failed('anchor', 'the path does not lead from the checkpoint to the anchored root');
  }
  if (trust.anchor === undefined) return passed('anchor', 'chain and contract are those the file names');
  const { chainId, contract } = trust.anchor;
  if (anchor.chainId !== chainId || anchor.contract !== contract.toLowerCase()) {
    return failed(
      'anchor',
      `it names contract ${anchor.contract} on chain ${anchor.chainId}, not the trusted one`,
    );
  }
  return passed('anchor');
}

/** Left out unless it was asked for. Asked for and not to be had, nobody vouches for it. */
function onChainCheck(
  anchor: EvidenceAnchor | null,
  { anchor: place, onChain }: EvidenceTrust,
): EvidenceCheck[] {
  if (onChain === undefined || place === undefined) return [];
  if (anchor === null) {
    const detail =
      'the event is not anchored, or was not when the file was made: there is nothing to look up';
    return [{ name: 'on_chain', outcome: 'unknown_signer', detail }];
  }
  return [{ name: 'on_chain', ...checkOnChain(anchor, place, onChain) }];
}

const UNREADABLE_CHECKPOINT = 'the checkpoint cannot be read';

function passed(name: EvidenceCheckName, detail?: string): EvidenceCheck {
  return { name, outcome: 'passed', ...(detail === undefined ? {} : { detail }) };
}

function failed(name: EvidenceCheckName, detail: string): EvidenceCheck {
  return { name, outcome: 'failed', detail };
}

function skipped(name: EvidenceCheckName, detail: string): EvidenceCheck {
  return { name, outcome: 'skipped', detail };
}

function readEvidence(input: unknown): Evidence | ImmutableError {
  try {
    return parseEvidence(input);
  } catch (error) {
    if (error instanceof ImmutableError) return error;
    throw error;
  }
}

function readCanonicalObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) && canonicalJson(value) === text ? value : null;
  } catch {
    return null; // not JSON, or nothing that canonical JSON can hold: what was wanted to know
  }
}

/** The file after `parseEvidence`. Strict forms make sure that the hashed text can be cut in one way only. */
interface Evidence {
  event: EvidenceEvent;
  inclusion: InclusionProof;
  checkpoint: string;
  anchor: EvidenceAnchor | null;
}

interface EvidenceEvent {
  seq: number;
  created_at: string;
  previous_event_hash: string | null;
  event_hash: string;
  body: string;
  private: string | undefined;
  salt: string | undefined;
}

interface EvidenceAnchor extends AnchoredRoot {
  proof: InclusionProof;
  chainId: number;
  /** Lower case. */
  contract: string;
}

/** Throws `validation_failed`, naming the first member whose form is not that of `imk-evidence/v1`. */
function parseEvidence(input: unknown): Evidence {
  const evidence = readObject(input, 'the file');
  if (evidence.format !== EVIDENCE_FORMAT) throw malformed(`format must be ${EVIDENCE_FORMAT}`);
  return {
    event: parseEvent(readObject(evidence.event, 'event')),
    inclusion: parseInclusion(evidence.inclusion, 'inclusion'),
    checkpoint: readText(evidence.checkpoint, 'checkpoint', ANY_TEXT),
    anchor: evidence.anchor === null ? null : parseAnchor(readObject(evidence.anchor, 'anchor')),
  };
}

function parseEvent(event: JsonObject): EvidenceEvent {
  const seq = readCount(event.seq, 'event.seq');
  if (seq === 0) throw malformed('event.seq must be at least 1');
  const createdAt = readText(event.created_at, 'event.created_at', ANY_TEXT);
  if (parseTimestamp(createdAt) === null || !isCanonicalTimestamp(createdAt)) {
    throw malformed('event.created_at must be an RFC 3339 time in UTC with six fraction digits');
  }
  if ((event.previous_event_hash === null) !== (seq === 1)) {
    throw malformed('event.previous_event_hash must be null for the first event, and for no other');
  }
  return {
    seq,
    created_at: createdAt,
    previous_event_hash:
      seq === 1 ? null : readText(event.previous_event_hash, 'event.previous_event_hash', HASH),
    event_hash: readText(event.event_hash, 'event.event_hash', HASH),
    body: readText(event.body, 'event.body', ANY_TEXT),
    private: event.private === undefined ? undefined : readText(event.private, 'event.private', ANY_TEXT),
    salt: event.salt === undefined ? undefined : readText(event.salt, 'event.salt', SALT),
  };
}

/** `{"leaf_index","tree_size","path":[hex]}`; throws `validation_failed` for any other form, naming it by `path`. */
export function parseInclusion(value: unknown, path: string): InclusionProof {
  return parseProof(readObject(value, path), path);
}

function parseProof(proof: JsonObject, path: string): InclusionProof {
  const hashes: unknown = proof.path;
  if (!Array.isArray(hashes) || hashes.length > MAX_PATH_LENGTH) {
    throw malformed(`${path}.path must be an array of at most ${MAX_PATH_LENGTH} hashes`);
  }
  return {
    leafIndex: readCount(proof.leaf_index, `${path}.leaf_index`),
    treeSize: readCount(proof.tree_size, `${path}.tree_size`),
    path: hashes.map((hash: unknown, index) => readHash(hash, `${path}.path[${index}]`)),
  };
}

function parseAnchor(anchor: JsonObject): EvidenceAnchor {
  return {
    txHash: readText(anchor.tx_hash, 'anchor.tx_hash', TRANSACTION).toLowerCase(),
    blockNumber: readCount(anchor.block_number, 'anchor.block_number'),
    root: readHash(anchor.anchor_root, 'anchor.anchor_root'),
    proof: parseProof(anchor, 'anchor'),
    chainId: readCount(anchor.chain_id, 'anchor.chain_id'),
    contract: readText(anchor.contract, 'anchor.contract', ADDRESS).toLowerCase(),
  };
}

const ANY_TEXT = /^/;
const HASH = /^[\da-f]{64}$/;
const SALT = /^[\da-f]{32}$/;
const ADDRESS = /^0x[\dA-Fa-f]{40}$/;
const TRANSACTION = /^0x[\dA-Fa-f]{64}$/;
/** No tree of 2^53 leaves is higher. */
const MAX_PATH_LENGTH = 53;

function readObject(value: unknown, path: string): JsonObject {
  if (!isJsonObject(value)) throw malformed(`${path} must be an object`);
  return value;
}

function readText(value: unknown, path: string, form: RegExp): string {
  if (typeof value !== 'string' || !value.isWellFormed() || !form.test(value)) {
    throw malformed(`${path} has not the form of such a text`);
  }
  return value;
}

function readHash(value: unknown, path: string): Uint8Array {
  const hash = hexDecode(readText(value, path, HASH));
  if (hash === null) throw malformed(`${path} must be a hash in lower-case hex`);
  return hash;
}

function readCount(value: unknown, path: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw malformed(`${path} must be a whole number`);
  }
  return value;
}

function malformed(message: string): ImmutableError {
  return new ImmutableError('validation_failed', message);
}
