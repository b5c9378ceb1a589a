import type { Config } from '../infra/config.ts';

/** Where this machine reaches the API. */
export function baseUrl(config: Pick<Config, 'host' | 'tlsCert'>, port: number): string {
  const scheme = config.tlsCert === undefined ? 'http' : 'https';
  const everyAddress = config.host === '0.0.0.0' || config.host === '::';
  const host = everyAddress ? '127.0.0.1' : config.host;
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
