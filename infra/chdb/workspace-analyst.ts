import { createHmac } from 'node:crypto';

/**
 * Analysts who see one workspace. There is one for each workspace without anybody making it: the name says
 * which, and the password follows from that of the user `analyst`, which its holder never learns. A new
 * password of `analyst` ends them all, the next generation one of them (generations.ts).
 */

const PREFIX = 'analyst_';
/** What may stand in a user's name of a ClickHouse server without quotes. */
const WORKSPACE = /^\w{1,64}$/;

/** `analyst_<workspace id>`. */
export function workspaceAnalystName(workspaceId: string): string {
  return `${PREFIX}${workspaceId}`;
}

/**
 * 64 hex digits: HMAC-SHA256 of `imk/analyst/v1\n<workspace id>`, keyed by the password of `analyst`; from the
 * second generation on with `\n<generation>` after it.
 */
export function workspaceAnalystPassword(
  workspaceId: string,
  analystPassword: string,
  generation = 0,
): string {
  const text = `imk/analyst/v1\n${workspaceId}${generation === 0 ? '' : `\n${generation}`}`;
  return createHmac('sha256', analystPassword).update(text).digest('hex');
}

/** The workspace of such an analyst; undefined for every other user. */
export function workspaceOfAnalyst(user: string): string | undefined {
  if (!user.startsWith(PREFIX)) return undefined;
  const workspaceId = user.slice(PREFIX.length);
  return WORKSPACE.test(workspaceId) ? workspaceId : undefined;
}
