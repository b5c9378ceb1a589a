/** One token of a ClickHouse statement, with where it stands in the text. Space and comments are left out. */
export interface Token {
  kind: 'word' | 'quoted_identifier' | 'string' | 'number' | 'symbol';
  text: string;
  start: number;
  end: number;
}

const SKIPPED = /(?:\s+|--[^\n]*|#[! ][^\n]*|\/\*[\s\S]*?\*\/)+/y;
const TOKEN =
  /([A-Za-z_][A-Za-z0-9_$]*)|(`(?:[^`\\]|\\[\s\S]|``)*`|"(?:[^"\\]|\\[\s\S]|"")*")|('(?:[^'\\]|\\[\s\S]|'')*'|\$(\w*)\$[\s\S]*?\$\4\$)|(\d[\w.]*)|([\s\S])/y;
const KINDS = ['word', 'quoted_identifier', 'string', undefined, 'number', 'symbol'] as const;

/** Tokens of `text`, one at a time, so that a reader can stop where the data of an INSERT begin. */
export function* tokens(text: string): Generator<Token> {
  let at = 0;
  while (at < text.length) {
    SKIPPED.lastIndex = at;
    if (SKIPPED.test(text)) at = SKIPPED.lastIndex;
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) return;
    const kind = KINDS.find((name, index) => name !== undefined && match[index + 1] !== undefined);
    if (kind !== undefined) yield { kind, text: match[0], start: at, end: TOKEN.lastIndex };
    at = TOKEN.lastIndex;
  }
}

/** The name a token stands for, lower-case and without quotes; undefined if it is no identifier. */
export function identifierOf(token: Token): string | undefined {
  if (token.kind === 'word') return token.text.toLowerCase();
  if (token.kind !== 'quoted_identifier') return undefined;
  return token.text.slice(1, -1).replace(/\\(.)/g, '$1').toLowerCase();
}

/** A name as it was written, but for plain quotes around it. */
export function unquoted(token: Token): string {
  return token.kind === 'quoted_identifier' ? token.text.slice(1, -1) : token.text;
}

export function isKeyword(token: Token | undefined, keyword: string): boolean {
  return token?.kind === 'word' && token.text.toUpperCase() === keyword;
}
