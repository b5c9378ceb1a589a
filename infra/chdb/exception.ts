/** A ClickHouse exception: what a client sees as `Code: 62. DB::Exception: … (SYNTAX_ERROR)`. */
export class ClickHouseException extends Error {
  readonly code: number;
  /** Such as `SYNTAX_ERROR`. */
  readonly type: string;

  constructor(type: ExceptionType, message: string) {
    super(message);
    this.name = 'ClickHouseException';
    this.code = EXCEPTION_CODES[type];
    this.type = type;
  }
}

/** The exceptions this server raises itself; all others come from the engine (src/Common/ErrorCodes.cpp). */
export const EXCEPTION_CODES = {
  BAD_ARGUMENTS: 36,
  NOT_IMPLEMENTED: 48,
  SYNTAX_ERROR: 62,
  UNKNOWN_COMPRESSION_METHOD: 89,
  READONLY: 164,
  TOO_MANY_SIMULTANEOUS_QUERIES: 202,
  QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: 216,
  QUERY_IS_TOO_LARGE: 229,
  ABORTED: 236,
  CANNOT_DECOMPRESS: 271,
  TOO_MANY_BYTES: 307,
  UNKNOWN_QUERY_PARAMETER: 456,
  ACCESS_DENIED: 497,
  AUTHENTICATION_FAILED: 516,
} as const;

export type ExceptionType = keyof typeof EXCEPTION_CODES;

/** An exception as text, and what the headers say of it. */
export interface ExceptionAnswer {
  code: number;
  status: number;
  /** One line, ended by a newline. */
  text: string;
}

const ENGINE_MESSAGE = /Code: (\d+)\. (DB::Exception: [\s\S]*)$/;
/** The engine sometimes tells an exception within itself. */
const NESTED =
  /^DB::Exception: Code: \d+\. (DB::Exception: [\s\S]*\(([A-Z0-9_]+)\)) \(version [^)]*\)\. \(\2\)\s*$/;
const NAMED_TYPE = /\(([A-Z][A-Z0-9_]{2,})\)\s*$/;

/**
 * What to answer for anything thrown while a query ran. The engine's own errors keep their code and text;
 * whatever else happened is a `Code: 1002 … (UNKNOWN_EXCEPTION)` as in ClickHouse.
 */
export function describeException(error: unknown, version: string): ExceptionAnswer {
  if (error instanceof ClickHouseException) {
    const text = `Code: ${error.code}. DB::Exception: ${error.message} (${error.type}) (version ${version})\n`;
    return { code: error.code, status: statusOf(error.code), text };
  }
  const message = error instanceof Error ? error.message : String(error);
  const match = ENGINE_MESSAGE.exec(message);
  const code = Number(match?.[1] ?? UNKNOWN_EXCEPTION);
  const told = match?.[2] ?? `DB::Exception: ${message} (UNKNOWN_EXCEPTION)`;
  const once = NESTED.exec(told)?.[1] ?? told;
  const named = NAMED_TYPE.test(once) ? once.trimEnd() : `${once.trimEnd()} (CODE_${code})`;
  return { code, status: statusOf(code), text: `Code: ${code}. ${named} (version ${version})\n` };
}

const UNKNOWN_EXCEPTION = 1002;

function statusOf(code: number): number {
  return STATUS_BY_CODE.get(code) ?? 500;
}

/** HTTP status by exception code, as in ClickHouse (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp). */
const STATUS_BY_CODE = new Map(
  Object.entries({
    400: [
      6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675,
      676,
    ],
    401: [194],
    403: [192, 193, 497, 512, 516],
    404: [46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511],
    408: [159],
    411: [381],
    413: [229],
    415: [779],
    501: [48],
    // 202 and 236 are 500 in ClickHouse; here they mean that the same request may succeed later.
    503: [76, 202, 209, 236, 439],
  }).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)] as const)),
);
