import { expect, test } from 'vitest';
import { parseAnswer } from './connection.ts';

const answer = (text: string) => parseAnswer(Buffer.from(text));

test('a complete answer gives its status and body', () => {
  const parsed = answer('HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nX-Other: 1\r\n\r\n{}');
  expect(parsed).toMatchObject({ status: 202 });
  expect(typeof parsed === 'object' && parsed.body.toString()).toBe('{}');
});

test('an answer cut anywhere is incomplete', () => {
  const whole = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nlater';
  for (let length = 0; length < whole.length; length += 1) {
    expect(answer(whole.slice(0, length))).toBe('incomplete');
  }
});

test('what is not an answer of known length is refused rather than waited for', () => {
  expect(answer('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')).toBe('unreadable');
  expect(answer('SSH-2.0-OpenSSH\r\n\r\n')).toBe('unreadable');
  expect(answer('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab')).toBe('unreadable');
});
