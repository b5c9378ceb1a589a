import { base64Decode } from '../../core/bytes.ts';
import { encodeVerifierKey, parseCheckpointNote, workspaceOf } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import { isJsonObject } from '../../core/json.ts';
import { getText, type RemoteLog, remoteLog } from './remote-log.ts';

/** A policy (C2SP tlog-policy) that names the log at this address with the keys that it publishes of itself. */
export async function pinnedPolicy(log: RemoteLog): Promise<string> {
  const checkpoint = parseCheckpointNote(await remoteLog(log).checkpoint());
  if (checkpoint === null) throw answeredWrong('The address serves no signed checkpoint.');
  const answer = await getText(`${log.keysUrl}?workspace_id=${workspaceOf(checkpoint)}`);
  const keys = readPublicKeys(answer).map((publicKey) =>
    encodeVerifierKey({ name: checkpoint.origin, publicKey }),
  );
  return [
    `# The keys that ${log.url}`,
    `# published of itself on ${new Date().toISOString().slice(0, 10)}.`,
    '# NOBODY HAS CHECKED THEM. Whoever controls that address, or the way to it, chooses what stands here. Compare each',
    '# line with what the operator told you in another way (a contract, a call, a printed page), and keep this file',
    '# where they cannot change it. Then: immutable verify --policy FILE …',
    ...keys.map((key) => `log ${key}`),
    '# No witnesses are asked for. With some, name them here, and how many must have seen a checkpoint.',
    'quorum none',
  ].join('\n');
}

function readPublicKeys(text: string): Uint8Array[] {
  const keys = keysIn(text).map((key) => {
    const encoded = isJsonObject(key) ? key.public_key : undefined;
    const publicKey = typeof encoded === 'string' ? base64Decode(encoded) : null;
    if (publicKey?.length !== 32) throw answeredWrong('A published key is no Ed25519 public key.');
    return publicKey;
  });
  if (keys.length === 0) throw answeredWrong('No keys are published there.');
  return keys;
}

function keysIn(text: string): readonly unknown[] {
  try {
    const answer: unknown = JSON.parse(text);
    const data = isJsonObject(answer) ? answer.data : undefined;
    const keys = isJsonObject(data) ? data.keys : undefined;
    return Array.isArray(keys) ? keys : [];
  } catch {
    return [];
  }
}

function answeredWrong(message: string): ImmutableError {
  return new ImmutableError('unavailable', message);
}
