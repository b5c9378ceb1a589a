import { describe, expect, it } from 'vitest';
import { parseLogUrl } from './remote-log.ts';

describe('the address of a log', () => {
  const KEY = 'imk_x';
  const API = 'https://audit.example.com/api/v1';

  it.each([
    'https://audit.example.com',
    'https://audit.example.com/',
    'https://audit.example.com/api/v1',
    'https://audit.example.com/api/v1/',
  ])('%s is an install', (url) => {
    expect(parseLogUrl(url, KEY)).toEqual({ url: API, keysUrl: `${API}/public/keys`, apiKey: KEY });
  });

  it.each([
    'https://audit.example.com/public/logs/ws_0a',
    'https://audit.example.com/api/v1/public/logs/ws_0a/',
  ])('%s is a public log, for which no key is sent', (url) => {
    expect(parseLogUrl(url, KEY)).toEqual({
      url: `${API}/public/logs/ws_0a`,
      keysUrl: `${API}/public/keys`,
      apiKey: undefined,
    });
  });

  it('may stand below a path', () => {
    expect(parseLogUrl('https://example.com/audit/', KEY).url).toBe('https://example.com/audit/api/v1');
  });
});
