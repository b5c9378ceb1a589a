import { ClickHouseException } from './exception.ts';
import { isKeyword, type Token } from './lexer.ts';

/**
 * Settings that no statement, URL or form may hold, whoever sends it: what they do outlives the request in
 * the session, or hides the query from `kill`.
 */
const REFUSED: Record<string, string> = {
  profile: 'a user has one profile',
  log_comment: 'it tells which query is whose',
};

/** Throws NOT_IMPLEMENTED. `value` is how a statement begins it. */
export function refuseSetting(name: string, value?: Token): void {
  const reason = reasonAgainst(name, value);
  if (reason === undefined) return;
  throw new ClickHouseException(
    'NOT_IMPLEMENTED',
    `The embedded ClickHouse does not support the setting ${name} (${reason}); a ClickHouse server does.`,
  );
}

function reasonAgainst(name: string, value: Token | undefined): string | undefined {
  // The engine checks no limit when a setting goes back to what it is before any user's limits.
  if (isKeyword(value, 'DEFAULT')) return 'it has no default here, leave it out';
  if (name.startsWith('param_')) return 'give it beside the statement';
  return Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
}
