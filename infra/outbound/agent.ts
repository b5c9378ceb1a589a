import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { Agent, buildConnector } from 'undici';
import { mayConnect, NOT_PUBLIC } from './destination.ts';
import type { OutboundPolicy } from './policy.ts';
import { checkedLookup, OutboundRefused, type Resolve } from './resolver.ts';

export interface GuardedAgentOptions {
  policy: OutboundPolicy;
  resolve: Resolve;
  /** Certificates, in PEM, of authorities to trust beside those that Node brings. */
  ca?: readonly string[];
  /** For a connection, for the head of an answer, and between pieces of its body. */
  timeoutMs: number;
}

const MAX_HEADER_BYTES = 16_384;
/** To one host and port; more requests wait. */
const MAX_CONNECTIONS = 16;

/** Connects to checked addresses alone, whoever dispatches to it. */
export function guardedAgent({ policy, resolve, ca, timeoutMs }: GuardedAgentOptions): Agent {
  const connectorFor = (isPlain: boolean) =>
    buildConnector({
      timeout: timeoutMs,
      lookup: checkedLookup(isPlain, policy, resolve),
      ...(ca === undefined ? {} : { ca: [...rootCertificates, ...ca] }),
    });
  const [plain, encrypted] = [connectorFor(true), connectorFor(false)];

  return new Agent({
    connections: MAX_CONNECTIONS,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect: (target, callback) => {
      const isPlain = target.protocol !== 'https:';
      const connect = isPlain ? plain : encrypted;
      // For a host that is an address no look-up is made: its check is here.
      if (isIP(target.hostname) === 0 || mayConnect(target.hostname, isPlain, policy))
        connect(target, callback);
      else callback(new OutboundRefused(NOT_PUBLIC), null);
    },
  });
}
