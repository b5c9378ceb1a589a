import type { Readable } from 'node:stream';

/**
 * Where files go that are too large for a table: exports, archives. Keys are `/`-separated segments of
 * letters, digits and `-_.=`; no segment is `.` or `..`, none is longer than 200, no key than 800. No key may
 * be a folder of another: not every store can keep both (`conflict`).
 *
 * Every method throws `unavailable` when the store cannot be reached, within bounded time, and may then be
 * called again; `misconfigured` when somebody has to change a right or a setting; `bad_request` for what is
 * no key, before anything is done; RangeError for a range that is none. They are promises' rejections all.
 */
export interface ObjectStore {
  /** Stores the bytes under `key`, in place of what is there: all of them or none. Resolves once they are durable. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  /**
   * Makes one object of existing ones, in this order, which stay; of none, an empty one. `key` may be among
   * them. All or nothing, durable once resolved. Throws `not_found` when one of them is not there.
   */
  compose(key: string, sources: readonly string[]): Promise<void>;
  /**
   * The bytes from `start` up to `end` (exclusive), all of them unless told, none where there are none;
   * `undefined` when there is no such object. Its bytes are those of one object, also when that is replaced
   * meanwhile, or the stream fails (`unavailable`). Read or destroy it: it holds a file or connection open.
   */
  read(key: string, range?: { start: number; end?: number }): Promise<Readable | undefined>;
  stat(key: string): Promise<{ bytes: number } | undefined>;
  /** What is not there is no error. */
  remove(keys: readonly string[]): Promise<void>;
  /** Of the keys that begin with `prefix`, which need not end at a slash, in the order of their bytes. */
  list(prefix: string): AsyncIterable<{ key: string; bytes: number; modifiedAtMs: number }>;
  /**
   * An address from which anybody may fetch the object for a while (1 second to 7 days, less where the
   * store's own credentials are temporary), as a download named `fileName`; `undefined` when this store has
   * none. Says nothing of whether the object is there.
   */
  presignedUrl(
    key: string,
    options: { expiresInSeconds: number; fileName: string; contentType: string },
  ): Promise<string | undefined>;
}
