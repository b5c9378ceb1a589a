import { S3ServiceException } from '@aws-sdk/client-s3';
import { ImmutableError } from '../../core/errors.ts';

/** Whether S3 says that there is no such object. A HEAD has no body, so its 404 has no code of S3's. */
export function isMissingObject(error: unknown): boolean {
  return error instanceof S3ServiceException && (error.name === 'NoSuchKey' || error.name === 'NotFound');
}

export function isBeyondTheEnd(error: unknown): boolean {
  return error instanceof S3ServiceException && error.name === 'InvalidRange';
}

/** The server knows no copying from object to part. */
export function isNotImplemented(error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 501;
}

/**
 * What S3 or the way there objects to, in the product's words: `misconfigured` when a person has to act,
 * else `unavailable`. Mistakes of our own stay what they are.
 */
export function translateS3Error(error: unknown, bucket: string): unknown {
  if (error instanceof S3ServiceException) {
    return refusal(error.name, error.$metadata.httpStatusCode, bucket, error.$metadata.requestId);
  }
  if (!(error instanceof Error) || error instanceof ImmutableError || error instanceof RangeError)
    return error;
  if (error.message === 'Region is missing') {
    return new ImmutableError('misconfigured', 'The region of the object store is not known.', {
      nextStep: 'Add region= to IMMUTABLE_OBJECT_STORE_URL, or set AWS_REGION.',
    });
  }
  if (error.name === 'CredentialsProviderError') {
    // Not `misconfigured`: a role's credentials come from a service that may be away for a moment.
    return new ImmutableError('unavailable', 'There are no credentials for the object store.', {
      nextStep: HOW_TO_GIVE_CREDENTIALS,
      cause: error,
    });
  }
  const reason = 'code' in error ? String(error.code) : error.name;
  if (!isOfTheNetwork(error, reason)) return error;
  return new ImmutableError('unavailable', `The object store cannot be reached (${reason}).`, {
    cause: error,
  });
}

/** What S3's answer asks of whom. Also for the single keys of a deletion, which have a code and no status. */
export function refusal(
  code: string,
  status: number | undefined,
  bucket: string,
  requestId?: string,
): ImmutableError {
  const details = { code, status, bucket, requestId };
  const misconfigured = (message: string, nextStep: string) =>
    new ImmutableError('misconfigured', message, { nextStep, details });
  switch (code) {
    case 'NoSuchBucket':
      return misconfigured(`The object store has no bucket ${bucket}.`, HOW_TO_NAME_A_BUCKET);
    case 'SignatureDoesNotMatch':
    case 'InvalidAccessKeyId':
      return misconfigured(
        `The object store does not accept the credentials for bucket ${bucket} (${code}).`,
        HOW_TO_GIVE_CREDENTIALS,
      );
    case 'RequestTimeTooSkewed':
      return misconfigured("This machine's clock is not the object store's.", 'Set the clock.');
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return misconfigured(
        `The bucket ${bucket} is in another region.`,
        'Correct region= in IMMUTABLE_OBJECT_STORE_URL.',
      );
    case 'ExpiredToken':
      return new ImmutableError('unavailable', 'The credentials for the object store have expired.', {
        details,
      });
  }
  if (code === 'AccessDenied' || status === 403) {
    return misconfigured(
      `The object store refuses access to bucket ${bucket} (${code}).`,
      'Give this identity the rights that docs/operations.md, "Object store", lists.',
    );
  }
  return new ImmutableError('unavailable', `The object store failed (${code}).`, { details });
}

const HOW_TO_GIVE_CREDENTIALS =
  'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role that may use the bucket.';
const HOW_TO_NAME_A_BUCKET = 'Make it, or name another in IMMUTABLE_OBJECT_STORE_URL.';

/** What Node and the SDK say of a connection. What else is thrown, a TypeError say, is a mistake of ours. */
function isOfTheNetwork(error: Error, reason: string): boolean {
  if (error instanceof TypeError) return false;
  return 'code' in error || ['TimeoutError', 'AbortError'].includes(reason) || '$metadata' in error;
}
