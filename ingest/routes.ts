import { authenticate, type KeyRing } from '../control/keys.ts';
import type { ImmutableError, Violation } from '../core/errors.ts';
import { LIMITS } from '../core/event.ts';
import type { Hasher } from '../core/hash.ts';
import type { Micros } from '../core/time.ts';
import type { ClientAddress } from '../infra/http/client-address.ts';
import type { HttpRequest, HttpResponse, Route } from '../infra/http/types.ts';
import {
  type AcceptedEvent,
  acceptBatch,
  acceptEvent,
  type Circumstances,
  invalid,
  invalidMessage,
  type Verdict,
} from './accept.ts';
import { readJson } from './body.ts';
import type { IngestMetrics } from './metrics.ts';
import type { Recorded, Recorder } from './recorder.ts';

export interface IngestRouteDeps {
  keyRing: KeyRing;
  record: Recorder;
  /** Why events of a workspace cannot be taken now. */
  refusal(workspaceId: string): ImmutableError | undefined;
  clientAddress: ClientAddress;
  placeOf: Circumstances['placeOf'];
  nowMicros(): Micros;
  newId(): string;
  newSalt(): string;
  hasher: Hasher;
  metrics: Pick<IngestMetrics, 'accepted' | 'rejected'>;
}

/** `POST /api/v1/events` and `/api/v1/events/batch`. */
export function ingestRoutes(deps: IngestRouteDeps): Route[] {
  // Everything up to the commit is done in one go: what a suspended function still names, the parsed body
  // first of all, would outlive its use by the whole commit, and the garbage collector pays for that.

  function postEvent(request: HttpRequest): Promise<HttpResponse> {
    return read(request, (input, circumstances) => {
      const verdict = acceptEvent(input, circumstances);
      if (!verdict.ok) {
        deps.metrics.rejected(1);
        throw invalid(verdict.violations);
      }
      const answer = answerTo(verdict.event);
      return deps.record(circumstances.workspaceId, [verdict.event]).then(([recorded]) => {
        if (recorded?.status === 'failed') throw recorded.error;
        deps.metrics.accepted(1, recorded?.status === 'duplicate' ? 1 : 0);
        return { status: 202, body: answer(recorded) };
      });
    });
  }

  function postBatch(request: HttpRequest): Promise<HttpResponse> {
    return read(request, (input, circumstances) => {
      const { verdicts, warnings } = acceptBatch(input, circumstances);
      const accepted = verdicts.flatMap((verdict) => (verdict.ok ? [verdict.event] : []));
      deps.metrics.rejected(verdicts.length - accepted.length);
      if (accepted.length === 0) throw invalid(allViolations(verdicts));
      const answers = verdicts.map((verdict) =>
        verdict.ok ? answerTo(verdict.event) : rejectedText(verdict),
      );
      return deps.record(circumstances.workspaceId, accepted).then((recorded) => {
        countRecorded(recorded);
        return { status: 202, body: batchText(answers, recorded, warnings) };
      });
    });
  }

  /** Who asks, and what: everything that is refused is refused here, before any work on events. */
  function read(
    request: HttpRequest,
    use: (input: unknown, circumstances: Circumstances) => Promise<HttpResponse>,
  ): Promise<HttpResponse> {
    const { workspace_id: workspaceId } = authenticate(
      deps.keyRing,
      request.header('authorization'),
      'ingest',
    );
    const refusal = deps.refusal(workspaceId);
    if (refusal !== undefined) throw refusal;
    const circumstances = circumstancesOf(request, workspaceId);
    const input = readJson({
      body: request.body,
      contentType: request.header('content-type'),
      contentEncoding: request.header('content-encoding'),
    });
    return input instanceof Promise
      ? input.then((inflated) => use(inflated, circumstances))
      : use(input, circumstances);
  }

  function circumstancesOf(request: HttpRequest, workspaceId: string): Circumstances {
    return {
      workspaceId,
      receivedAtMicros: deps.nowMicros(),
      callerAddress: deps.clientAddress(request.remoteAddress, request.header('x-forwarded-for')),
      newId: deps.newId,
      newSalt: deps.newSalt,
      placeOf: deps.placeOf,
      hasher: deps.hasher,
    };
  }

  function countRecorded(recorded: readonly Recorded[]): void {
    const safe = recorded.filter(({ status }) => status !== 'failed').length;
    deps.metrics.accepted(safe, recorded.filter(({ status }) => status === 'duplicate').length);
  }

  const limits: Pick<Route, 'maxBodyBytes' | 'mayBeLong'> = {
    maxBodyBytes: LIMITS.requestBytes,
    mayBeLong: (header) => void authenticate(deps.keyRing, header('authorization'), 'ingest'),
  };
  return [
    { method: 'POST', path: '/api/v1/events', handler: postEvent, ...limits },
    { method: 'POST', path: '/api/v1/events/batch', handler: postBatch, ...limits },
  ];
}

type Answer = (recorded: Recorded | undefined) => string;

/** Keeps the little of the event that its answer needs. */
function answerTo({ id, warnings }: AcceptedEvent): Answer {
  // An id needs no escaping.
  if (warnings.length === 0) return (recorded) => `{"id":"${id}","status":"${recorded?.status ?? 'queued'}"}`;
  const warningsText = JSON.stringify(warnings);
  return (recorded) => `{"id":"${id}","status":"${recorded?.status ?? 'queued'}","warnings":${warningsText}}`;
}

function rejectedText({ violations }: Extract<Verdict, { ok: false }>): string {
  return JSON.stringify({
    status: 'rejected',
    error: 'validation_failed',
    message: invalidMessage(violations),
    violations,
  });
}

/** One entry for each element of the request, in its order; `recorded` has those that were accepted. */
function batchText(
  answers: readonly (Answer | string)[],
  recorded: readonly Recorded[],
  warnings: readonly string[],
): string {
  let next = 0;
  const entries = answers.map((answer) => {
    if (typeof answer === 'string') return answer;
    const outcome = recorded[next];
    next += 1;
    if (outcome?.status !== 'failed') return answer(outcome);
    const { code, message } = outcome.error;
    return JSON.stringify({ status: 'rejected', error: code, message });
  });
  const warningsText = warnings.length === 0 ? '' : `,"warnings":${JSON.stringify(warnings)}`;
  return `{"events":[${entries.join(',')}]${warningsText}}`;
}

const MAX_VIOLATIONS = 100;

function allViolations(verdicts: readonly Verdict[]): Violation[] {
  return verdicts.flatMap((verdict) => (verdict.ok ? [] : verdict.violations)).slice(0, MAX_VIOLATIONS);
}
