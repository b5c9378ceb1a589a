/** A program the product starts beside itself, as data. */
export interface ChildSpec {
  name: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
  /** True once it serves. Asked again until it is, or `readyTimeoutMs` have passed. */
  ready(): Promise<boolean>;
  readyTimeoutMs: number;
  /** How it is asked to end; SIGTERM unless told. */
  stopSignal?: NodeJS.Signals;
  /** How long it may take to end before it is killed. */
  stopTimeoutMs?: number;
}

/** A program of ours, rather than one like nats-server: it is told over IPC when its supervisor is gone. */
export function isNodeProgram(spec: ChildSpec): boolean {
  return spec.command === process.execPath;
}
