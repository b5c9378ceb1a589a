import { ImmutableError } from '../../core/errors.ts';

/** Where objects are, as `IMMUTABLE_OBJECT_STORE_URL` says it. */
export interface S3Location {
  bucket: string;
  /** What every key begins with: empty, or ending with a slash. */
  prefix: string;
  /** None: Amazon's own. */
  endpoint: string | undefined;
  /** None: the one of the environment (`AWS_REGION`) or of the SDK's files. */
  region: string | undefined;
  /** Whether the bucket stands in the path rather than in the host name. */
  pathStyle: boolean;
  encryption: { algorithm: 'AES256' } | { algorithm: 'aws:kms'; keyId: string | undefined } | undefined;
}

const PARAMETERS = ['endpoint', 'region', 'path_style', 'sse', 'kms_key_id'];
/** What servers other than Amazon's call their only region. */
const REGION_OF_OTHERS = 'us-east-1';

/**
 * `s3://bucket/prefix?endpoint=https://…&region=…&path_style=true&sse=aws:kms&kms_key_id=…`, of which only
 * the bucket must be there. With an endpoint, the region is `us-east-1` and the style path unless told.
 * Throws `misconfigured`, which never repeats the URL: somebody may have put a secret into it.
 */
export function parseObjectStoreUrl(text: string): S3Location {
  const url = parseUrl(text);
  if (url?.protocol !== 's3:') throw wrong('it does not look like s3://bucket/prefix');
  refuseSecrets(url);
  const given = parametersOf(url);
  const endpoint = endpointOf(given.get('endpoint'));
  return {
    bucket: bucketOf(url),
    prefix: prefixOf(url),
    endpoint,
    region: given.get('region') ?? (endpoint === undefined ? undefined : REGION_OF_OTHERS),
    pathStyle: booleanOf('path_style', given.get('path_style')) ?? endpoint !== undefined,
    encryption: encryptionOf(given.get('sse'), given.get('kms_key_id')),
  };
}

function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

/** A URL ends up in logs and listings of processes, where a secret must not be. */
function refuseSecrets(url: URL): void {
  if (url.username === '' && url.password === '') return;
  throw wrong(
    'it holds credentials',
    'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.',
  );
}

function parametersOf(url: URL): Map<string, string> {
  if (url.hash !== '') throw wrong('it has a part after #, which means nothing');
  const given = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!PARAMETERS.includes(name))
      throw wrong(`there is no parameter ${/^\w{1,30}$/.test(name) ? name : 'of that name'}`);
    if (given.has(name)) throw wrong(`${name} is there twice`);
    if (value.trim() === '') throw wrong(`${name} is empty`);
    given.set(name, value);
  }
  return given;
}

function bucketOf(url: URL): string {
  if (url.port !== '') throw wrong('a port belongs into endpoint=, not behind the bucket');
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/.test(url.hostname))
    throw wrong('its bucket must be 2 to 63 letters, digits, dots, dashes or underscores');
  return url.hostname;
}

function prefixOf(url: URL): string {
  const prefix = url.pathname.replace(/^\//, '').replace(/\/$/, '');
  if (prefix === '') return '';
  if (prefix.length > 200 || !/^[A-Za-z0-9\-_.=]+(\/[A-Za-z0-9\-_.=]+)*$/.test(prefix))
    throw wrong('its prefix may have up to 200 letters, digits and -_.= between single slashes');
  return `${prefix}/`;
}

function endpointOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = parseUrl(text);
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw wrong('endpoint must be an http:// or https:// address');
  refuseSecrets(url);
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    throw wrong('endpoint must have nothing behind host and port');
  return url.origin;
}

function booleanOf(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (text !== 'true' && text !== 'false') throw wrong(`${name} must be true or false`);
  return text === 'true';
}

function encryptionOf(algorithm: string | undefined, keyId: string | undefined): S3Location['encryption'] {
  if (algorithm === 'aws:kms') return { algorithm, keyId };
  if (keyId !== undefined) throw wrong('kms_key_id needs sse=aws:kms');
  if (algorithm === undefined) return undefined;
  if (algorithm !== 'AES256') throw wrong('sse must be AES256 or aws:kms');
  return { algorithm };
}

function wrong(problem: string, nextStep?: string): ImmutableError {
  return new ImmutableError('misconfigured', `The address of the object store is wrong: ${problem}.`, {
    nextStep:
      nextStep ??
      'Correct IMMUTABLE_OBJECT_STORE_URL; docs/operations.md, "Object store", says what may stand there.',
  });
}
