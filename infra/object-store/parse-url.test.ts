import { describe, expect, it } from 'vitest';
import { loadConfig } from '../config.ts';
import { parseObjectStoreUrl } from './parse-url.ts';

describe('the address of an object store', () => {
  it('may be a bucket of Amazon alone', () => {
    expect(parseObjectStoreUrl('s3://audit-exports')).toEqual({
      bucket: 'audit-exports',
      prefix: '',
      endpoint: undefined,
      region: undefined,
      pathStyle: false,
      encryption: undefined,
    });
  });

  it('may say everything', () => {
    const key = 'arn:aws:kms:eu-central-1:111122223333:key/0f8fad5b-d9cb-469f-a165-70867728950e';
    const url = `s3://Bucket.1/a/b/?endpoint=https://minio.example.com:9000&region=eu-central-1&path_style=false&sse=aws:kms&kms_key_id=${key}`;
    expect(parseObjectStoreUrl(url)).toEqual({
      bucket: 'Bucket.1',
      prefix: 'a/b/',
      endpoint: 'https://minio.example.com:9000',
      region: 'eu-central-1',
      pathStyle: false,
      encryption: { algorithm: 'aws:kms', keyId: key },
    });
  });

  it('with an endpoint has the region and the style of other servers', () => {
    expect(parseObjectStoreUrl('s3://b1?endpoint=http://127.0.0.1:9000&sse=AES256')).toMatchObject({
      endpoint: 'http://127.0.0.1:9000',
      region: 'us-east-1',
      pathStyle: true,
      encryption: { algorithm: 'AES256' },
    });
  });

  it.each([
    ['', 'does not look like s3://'],
    ['bucket', 'does not look like s3://'],
    ['https://bucket.s3.amazonaws.com', 'does not look like s3://'],
    ['s3:///prefix', 'bucket must be'],
    ['s3://b', 'bucket must be'],
    ['s3://bucket:9000', 'a port belongs into endpoint='],
    ['s3://bucket/a//b', 'its prefix'],
    ['s3://bucket/a b', 'its prefix'],
    ['s3://bucket/%2e%2e%2fb', 'its prefix'],
    ['s3://bucket?endpont=http://h', 'no parameter endpont'],
    ['s3://bucket?region=a&region=b', 'region is there twice'],
    ['s3://bucket?region=', 'region is empty'],
    ['s3://bucket?endpoint=minio:9000', 'endpoint must be an http'],
    ['s3://bucket?endpoint=http://h/path', 'nothing behind host and port'],
    ['s3://bucket?path_style=yes', 'path_style must be true or false'],
    ['s3://bucket?sse=kms', 'sse must be'],
    ['s3://bucket?kms_key_id=k', 'kms_key_id needs'],
    ['s3://bucket?sse=AES256&kms_key_id=k', 'kms_key_id needs'],
    ['s3://bucket/p#x', 'after #'],
  ])('%j is refused', (url, problem) => {
    expect(() => parseObjectStoreUrl(url)).toThrow(
      expect.objectContaining({ code: 'misconfigured', message: expect.stringContaining(problem) }),
    );
  });

  it.each([
    's3://AKIAEXAMPLE:hunter2@bucket',
    's3://bucket?endpoint=https://AKIAEXAMPLE:hunter2@minio.example.com',
    's3://bucket?secret_access_key=hunter2',
    's3://bucket?hunter2%20=1',
  ])('%j is refused without repeating its secret', (url) => {
    const load = () => loadConfig({ IMMUTABLE_OBJECT_STORE_URL: url });
    expect(load).toThrow(/IMMUTABLE_OBJECT_STORE_URL: The address of the object store is wrong/);
    expect(load).not.toThrow(/hunter2/);
  });

  it('is a setting', () => {
    expect(loadConfig({ IMMUTABLE_OBJECT_STORE_URL: 's3://bucket/p' }).objectStoreUrl).toBe('s3://bucket/p');
    expect(loadConfig({}).objectStoreUrl).toBeUndefined();
  });
});
