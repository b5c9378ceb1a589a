import { authenticate, type KeyRing } from '../control/keys.ts';
import type { ImmutableError, Violation } from '../core/errors.ts';
import { LIMITS } from '../core/event.ts';
import type { Hasher } from '../core/hash.ts';
import type { Micros } from '../core/time.ts';
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
import type { ClientAddress } from './client-address.ts';
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
  async function postEvent(request: HttpRequest): Promise<HttpResponse> {
    const { input, circumstances } = await read(request);
    const verdict = acceptEvent(input, circumstances);
    if (!verdict.ok) {
      deps.metrics.rejected(1);
      throw invalid(verdict.violations);
    }
    const [recorded] = await deps.record(circumstances.workspaceId, [verdict.event]);
    if (recorded?.status === 'failed') throw recorded.error;
    deps.metrics.accepted(1, recorded?.status === 'duplicate' ? 1 : 0);
    return { status: 202, body: acceptedText(verdict.event, recorded) };
  }

  async function postBatch(request: HttpRequest): Promise<HttpResponse> {
    const { input, circumstances } = await read(request);
    const { verdicts, warnings } = acceptBatch(input, circumstances);
    const accepted = verdicts.flatMap((verdict) => (verdict.ok ? [verdict.event] : []));
    deps.metrics.rejected(verdicts.length - accepted.length);
    if (accepted.length === 0) throw invalid(allViolations(verdicts));
    const recorded = await deps.record(circumstances.workspaceId, accepted);
    countRecorded(recorded);
    const entries = entryTexts(verdicts, recorded);
    const warningsText = warnings.length === 0 ? '' : `,"warnings":${JSON.stringify(warnings)}`;
    return { status: 202, body: `{"events":[${entries.join(',')}]${warningsText}}` };
  }

  /** Who asks, and what: everything that is refused is refused here, before any work on events. */
  async function read(request: HttpRequest): Promise<{ input: unknown; circumstances: Circumstances }> {
    const { workspace_id: workspaceId } = authenticate(
      deps.keyRing,
      request.header('authorization'),
      'ingest',
    );
    const refusal = deps.refusal(workspaceId);
    if (refusal !== undefined) throw refusal;
    const input = await readJson({
      body: request.body,
      contentType: request.header('content-type'),
      contentEncoding: request.header('content-encoding'),
    });
    return { input, circumstances: circumstancesOf(request, workspaceId) };
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

  const limits = { maxBodyBytes: LIMITS.requestBytes };
  return [
    { method: 'POST', path: '/api/v1/events', handler: postEvent, ...limits },
    { method: 'POST', path: '/api/v1/events/batch', handler: postBatch, ...limits },
  ];
}

/** An id needs no escaping, and this is what nearly every answer is made of. */
function acceptedText({ id, warnings }: AcceptedEvent, recorded: Recorded | undefined): string {
  const warningsText = warnings.length === 0 ? '' : `,"warnings":${JSON.stringify(warnings)}`;
  return `{"id":"${id}","status":"${recorded?.status ?? 'queued'}"${warningsText}}`;
}

/** One entry for each element of the request, in its order. */
function entryTexts(verdicts: readonly Verdict[], recorded: readonly Recorded[]): string[] {
  let next = 0;
  return verdicts.map((verdict) => {
    if (!verdict.ok) {
      return rejectedText('validation_failed', invalidMessage(verdict.violations), verdict.violations);
    }
    const outcome = recorded[next];
    next += 1;
    return outcome?.status === 'failed'
      ? rejectedText(outcome.error.code, outcome.error.message)
      : acceptedText(verdict.event, outcome);
  });
}

function rejectedText(error: string, message: string, violations?: readonly Violation[]): string {
  return JSON.stringify({ status: 'rejected', error, message, violations });
}

const MAX_VIOLATIONS = 100;

function allViolations(verdicts: readonly Verdict[]): Violation[] {
  return verdicts.flatMap((verdict) => (verdict.ok ? [] : verdict.violations)).slice(0, MAX_VIOLATIONS);
}
