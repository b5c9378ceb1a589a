/** A program the product starts beside itself, as data. */
export interface ChildSpec {
  name: string;
  command: string;
  args: string[];
  /** Beside what it inherits. */
  env?: Record<string, string>;
  /** Which variables of its parent's it inherits; all of them unless told. */
  inheritedEnv?: readonly string[];
  /** True once it serves. Asked again until it is, or `readyTimeoutMs` have passed. */
  ready(): Promise<boolean>;
  readyTimeoutMs: number;
  /** How it is asked to end; SIGTERM unless told. */
  stopSignal?: NodeJS.Signals;
  /** How long it may take to end before it is killed. */
  stopTimeoutMs?: number;
}

/** Enough for an engine that is configured by a file; the product's own secrets are none of its business. */
export const ENGINE_ENVIRONMENT = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH'];

/** Pure: the environment of a child whose parent has `parent`. */
export function environmentOf(
  { env, inheritedEnv }: Pick<ChildSpec, 'env' | 'inheritedEnv'>,
  parent: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  if (inheritedEnv === undefined) return { ...parent, ...env };
  return { ...Object.fromEntries(inheritedEnv.map((name) => [name, parent[name]])), ...env };
}

/** A program of ours, rather than one like nats-server: it is told over IPC when its supervisor is gone. */
export function isNodeProgram(spec: ChildSpec): boolean {
  return spec.command === process.execPath;
}
