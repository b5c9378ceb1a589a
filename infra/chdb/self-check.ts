export interface SelfCheckOptions {
  /** Rejects if the server cannot do its work. */
  check(): Promise<void>;
  /** Told once, after `failures` in a row; nothing is checked any more. */
  failed(error: unknown): void;
  everyMs: number;
  /** No answer for so long is a failure. */
  timeoutMs: number;
  failures: number;
}

/** Checks again and again until the returned function is called. A check that hangs is waited for, not joined by others. */
export function watchItself({ check, failed, everyMs, timeoutMs, failures }: SelfCheckOptions): () => void {
  let timer = setTimeout(once, everyMs);
  let pending: Promise<void> | undefined;
  let inARow = 0;
  let stopped = false;

  function once(): void {
    pending ??= check().finally(() => {
      pending = undefined;
    });
    const tooLong = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    });
    Promise.race([pending, tooLong]).then(
      () => settle(true),
      (error: unknown) => settle(false, error),
    );
  }

  function settle(ok: boolean, error?: unknown): void {
    clearTimeout(timer);
    if (stopped) return;
    inARow = ok ? 0 : inARow + 1;
    if (inARow >= failures) failed(error);
    else timer = setTimeout(once, everyMs);
  }

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
