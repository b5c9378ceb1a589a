import { isUtf8 } from 'node:buffer';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ImmutableError } from '../core/errors.ts';
import { LIMITS } from '../core/event.ts';

/** What is read of a request to know its JSON. */
interface EncodedBody {
  body: Buffer;
  contentType: string | undefined;
  contentEncoding: string | undefined;
}

/**
 * The JSON value of a request body. A promise only where it has to be inflated. Throws `bad_request` for
 * what is no JSON, `payload_too_large` for what inflates to more than a request may have.
 */
export function readJson({ body, contentType, contentEncoding }: EncodedBody): unknown {
  refuseOtherTypes(contentType);
  switch (contentEncoding?.trim().toLowerCase()) {
    case undefined:
    case '':
    case 'identity':
      return parseJson(body);
    case 'gzip':
    case 'x-gzip':
      return inflate(body).then(parseJson);
    default:
      throw new ImmutableError('bad_request', 'Content-Encoding must be gzip or absent.');
  }
}

/** `curl -d` and small clients say these of JSON, or say nothing. */
const ALSO_JSON = new Set(['application/x-www-form-urlencoded', 'text/plain', 'application/octet-stream']);
const PLAIN_JSON = 'application/json';

function refuseOtherTypes(contentType: string | undefined): void {
  if (contentType === undefined || contentType === '' || contentType === PLAIN_JSON) return;
  const [type = '', ...parameters] = contentType
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  if (type !== PLAIN_JSON && !type.endsWith('+json') && !ALSO_JSON.has(type)) {
    throw new ImmutableError('bad_request', 'The body must be JSON, sent as Content-Type: application/json.');
  }
  const charset = parameters.find((parameter) => parameter.startsWith('charset='));
  if (charset !== undefined && !/^charset="?(utf-8|utf8|us-ascii)"?$/.test(charset)) {
    throw new ImmutableError('bad_request', 'The body must be in UTF-8.');
  }
}

const BYTE_ORDER_MARK = 0xfeff;

function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new ImmutableError('bad_request', 'The body is empty; send JSON.');
  // Decoding would put replacement characters where evidence should be.
  if (!isUtf8(body)) throw new ImmutableError('bad_request', 'The body is not valid UTF-8.');
  const text = body.toString('utf8');
  try {
    return JSON.parse(text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : '';
    throw new ImmutableError('bad_request', `The body is not valid JSON${where(reason)}.`);
  }
}

/** The engine's own message quotes the body; only the place is passed on. */
function where(reason: string): string {
  const position = /position (\d+)/.exec(reason)?.[1];
  if (position !== undefined) return ` (at character ${position})`;
  return reason.includes('end of JSON') ? ' (it ends too early)' : '';
}

const gunzipAsync = promisify(gunzip);

async function inflate(body: Buffer): Promise<Buffer> {
  try {
    return await gunzipAsync(body, { maxOutputLength: LIMITS.requestBytes });
  } catch (error) {
    if (error instanceof RangeError) {
      throw new ImmutableError(
        'payload_too_large',
        `The body inflates to more than ${LIMITS.requestBytes} bytes.`,
      );
    }
    throw new ImmutableError('bad_request', 'The body is not valid gzip.');
  }
}
