import { randomUUID } from 'node:crypto';
import { directoryStore } from './directory.ts';
import { parseObjectStoreUrl } from './parse-url.ts';
import type { ObjectStore } from './types.ts';

/**
 * The object store of a process: the bucket that `objectStoreUrl` names, else the files below `folder`.
 * Opens no connection. Throws `misconfigured`.
 */
export async function openObjectStore(config: {
  objectStoreUrl: string | undefined;
  folder: string;
}): Promise<ObjectStore> {
  if (config.objectStoreUrl === undefined) return directoryStore(config.folder);
  const location = parseObjectStoreUrl(config.objectStoreUrl);
  // Loading Amazon's SDK takes over 100 ms, which a start without S3 is spared.
  const { s3Store } = await import('./s3.ts');
  return s3Store(location);
}

/**
 * For the start: resolves when the store is there and this process may list, write, read and remove.
 * Throws what the store objects to: `misconfigured` when somebody has to act, `unavailable` when it is away.
 */
export async function checkObjectStore(store: ObjectStore): Promise<void> {
  const key = `probe/${randomUUID()}`;
  await store.put(key, Buffer.from('May be removed.\n'));
  (await store.read(key))?.destroy();
  for await (const _ of store.list(key)) break;
  await store.remove([key]);
}
