import { ClickHouseException } from './exception.ts';

/** A string literal. */
export function quote(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&').replaceAll('\0', '\\0')}'`;
}

/** An identifier that may hold anything. */
export function quoteName(name: string): string {
  return `\`${name.replace(/[\\`]/g, '\\$&')}\``;
}

/** The name of a setting or parameter, which cannot be quoted. */
export function plainName(name: string): string {
  if (!/^\w+$/.test(name)) throw new ClickHouseException('BAD_ARGUMENTS', `"${name}" is not a valid name`);
  return name;
}
