/**
 * Every error this product raises on purpose, split by what its receiver must do:
 * - `answer`: tell the client; asking again with the same input will not help.
 * - `retry`: the same request may succeed later.
 * - `stop`: something the code must not repair by itself; stop this work and raise an alarm.
 */
export const ERROR_CODES = {
  bad_request: { disposition: 'answer', status: 400 },
  unauthenticated: { disposition: 'answer', status: 401 },
  forbidden: { disposition: 'answer', status: 403 },
  quota_exceeded: { disposition: 'answer', status: 403 },
  not_found: { disposition: 'answer', status: 404 },
  method_not_allowed: { disposition: 'answer', status: 405 },
  conflict: { disposition: 'answer', status: 409 },
  gone: { disposition: 'answer', status: 410 },
  payload_too_large: { disposition: 'answer', status: 413 },
  validation_failed: { disposition: 'answer', status: 422 },
  rate_limited: { disposition: 'retry', status: 429 },
  unavailable: { disposition: 'retry', status: 503 },
  /** Another process holds what this one believed to hold. */
  fenced: { disposition: 'stop', status: 500 },
  /** The event stream is not the one whose positions are stored (recreated, or restored from a backup). */
  stream_mismatch: { disposition: 'stop', status: 500 },
  /** Bytes whose checksum or form is wrong. */
  damaged_message: { disposition: 'stop', status: 500 },
  /** A setting, file or program the process cannot start with. */
  misconfigured: { disposition: 'stop', status: 500 },
  internal: { disposition: 'stop', status: 500 },
} as const satisfies Record<string, { disposition: Disposition; status: number }>;

export type Disposition = 'answer' | 'retry' | 'stop';
export type ErrorCode = keyof typeof ERROR_CODES;

/** One rule broken by an input: `path` as in `events[3].metadata.size`, `message` saying how to mend it. */
export interface Violation {
  path: string;
  message: string;
}

export interface ErrorFacts {
  violations?: Violation[];
  /** Whole seconds; sent as `Retry-After`. */
  retryAfterSeconds?: number;
  /** What the operator should do next, one sentence. */
  nextStep?: string;
  /** Anything worth logging; never shown to a client. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

export class ImmutableError extends Error {
  readonly code: ErrorCode;
  readonly violations: Violation[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly nextStep: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = 'ImmutableError';
    this.code = code;
    this.violations = facts.violations;
    this.retryAfterSeconds = facts.retryAfterSeconds;
    this.nextStep = facts.nextStep;
    this.details = facts.details;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  get disposition(): Disposition {
    return ERROR_CODES[this.code].disposition;
  }
}
