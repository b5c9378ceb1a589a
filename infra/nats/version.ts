/** The oldest NATS server that stores an atomic batch with about one fsync. */
export const MINIMUM_NATS_VERSION = '2.15.0';

/** `nats-server: v2.15.1-RC.2` → `2.15.1`; undefined when the text names no version. */
export function natsVersion(text: string): string | undefined {
  return /v?(\d+\.\d+\.\d+)/.exec(text)?.[1];
}

/** True when version `have` (`x.y.z`) is `least` or newer. */
export function atLeastVersion(have: string, least: string): boolean {
  const wanted = parts(least);
  for (const [index, part] of parts(have).entries()) {
    const difference = part - (wanted[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function parts(version: string): number[] {
  return version.split('.').map((part) => Number.parseInt(part, 10));
}
