import { S3ServiceException } from '@aws-sdk/client-s3';
import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../../core/errors.ts';
import { translateS3Error } from './s3-errors.ts';

function answer(name: string, httpStatusCode: number): S3ServiceException {
  return new S3ServiceException({
    name,
    $fault: 'client',
    $metadata: { httpStatusCode },
    message: 'of the server',
  });
}

function ofNetwork(facts: { code?: string; name?: string }): Error {
  return Object.assign(new Error('x'), facts);
}

describe('what S3 objects to', () => {
  it.each([
    ['AccessDenied', 403, 'misconfigured', 'refuses access'],
    // To a HEAD, which has no body, every refusal is this one.
    ['Forbidden', 403, 'misconfigured', 'refuses access'],
    ['SignatureDoesNotMatch', 403, 'misconfigured', 'credentials'],
    ['InvalidAccessKeyId', 403, 'misconfigured', 'credentials'],
    ['RequestTimeTooSkewed', 403, 'misconfigured', 'clock'],
    ['NoSuchBucket', 404, 'misconfigured', 'no bucket my-bucket'],
    ['PermanentRedirect', 301, 'misconfigured', 'another region'],
    ['AuthorizationHeaderMalformed', 400, 'misconfigured', 'another region'],
    ['ExpiredToken', 400, 'unavailable', 'expired'],
    ['SlowDown', 503, 'unavailable', 'SlowDown'],
    ['InternalError', 500, 'unavailable', 'InternalError'],
    ['NoSuchUpload', 404, 'unavailable', 'NoSuchUpload'],
    ['PreconditionFailed', 412, 'unavailable', 'PreconditionFailed'],
  ])('%s (%d) is %s', (name, status, code, message) => {
    expect(translateS3Error(answer(name, status), 'my-bucket')).toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it.each([
    { code: 'ECONNREFUSED' },
    { code: 'ENOTFOUND' },
    { name: 'TimeoutError' },
    { code: 'ECONNRESET' },
  ])('a connection that fails with %j is unavailable', (facts) => {
    expect(translateS3Error(ofNetwork(facts), 'b')).toMatchObject({ code: 'unavailable' });
  });

  it('missing credentials and a missing region say what to set', () => {
    expect(translateS3Error(ofNetwork({ name: 'CredentialsProviderError' }), 'b')).toMatchObject({
      code: 'unavailable',
      nextStep: expect.stringContaining('AWS_ACCESS_KEY_ID'),
    });
    expect(translateS3Error(new Error('Region is missing'), 'b')).toMatchObject({
      code: 'misconfigured',
      nextStep: expect.stringContaining('AWS_REGION'),
    });
  });

  it('our own errors and mistakes stay what they are', () => {
    for (const error of [
      new TypeError('x'),
      new RangeError('x'),
      new Error('x'),
      new ImmutableError('conflict', 'x'),
    ])
      expect(translateS3Error(error, 'b')).toBe(error);
  });
});
