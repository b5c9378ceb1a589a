/**
 * Whether a text is an IPv4 address (four decimal parts, no leading zero: other spellings are read differently
 * by different programs) or an IPv6 address (RFC 4291 §2.2, all three forms, either case). No zone, no prefix
 * length, no brackets.
 */
export function isIpAddress(text: string): boolean {
  return text.includes(':') ? isIpv6(text) : isIpv4(text);
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6_GROUP = /^[\dA-Fa-f]{1,4}$/;
const LONGEST_IPV6 = 45;

function isIpv4(text: string): boolean {
  return IPV4.test(text);
}

function isIpv6(text: string): boolean {
  if (text.length > LONGEST_IPV6) return false;
  const halves = text.split('::');
  if (halves.length > 2) return false;
  const [left = '', right] = halves;
  if (right === undefined) return countGroups(left, true) === 8;
  const before = left === '' ? 0 : countGroups(left, false);
  const after = right === '' ? 0 : countGroups(right, true);
  return before + after <= 7; // `::` stands for at least one group; NaN fails
}

/** Groups of sixteen bits in a run without `::`, an IPv4 tail (allowed at the very end) being two; NaN if malformed. */
function countGroups(run: string, atEnd: boolean): number {
  const groups = run.split(':');
  const last = groups.at(-1) ?? '';
  const hasIpv4Tail = atEnd && last.includes('.');
  if (hasIpv4Tail && !isIpv4(last)) return Number.NaN;
  const plain = hasIpv4Tail ? groups.slice(0, -1) : groups;
  if (!plain.every((group) => IPV6_GROUP.test(group))) return Number.NaN;
  return plain.length + (hasIpv4Tail ? 2 : 0);
}
