import { randomBytes, randomUUID } from 'node:crypto';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { executionKey } from '../../shared/executions/key.ts';
import { HandlerInput, type Handler, type HttpTarget } from '../../shared/handlers/handler.ts';
import { newSigningSecret, signingKeyOf } from '../../shared/delivery/signature.ts';
import { openFilter, type RegisteredHandler } from '../../shared/handlers/registry.ts';

type HandlerParts = Partial<Omit<Handler, 'target'>>;

const complete = ({ id, version, createdAt, ...input }: HandlerParts & { target: unknown }): Handler => ({
  ...HandlerInput.parse({ name: 'CRM sync', events: ['client.create'], ...input }),
  id: id ?? `h_${randomBytes(12).toString('base64url')}`,
  version: version ?? 1,
  createdAt: createdAt ?? '2026-11-23T09:00:00.000Z',
  updatedAt: '2026-11-23T09:00:00.000Z',
});

/** A handler as the store holds it; what a test does not say has the default of the schema. */
export const aHandler = ({
  target,
  ...parts
}: HandlerParts & { target?: { url?: string; timeoutMs?: number; headers?: object } } = {}) =>
  complete({
    ...parts,
    target: { type: 'http', url: 'https://crm.example/hook', ...target },
  }) as Handler & { target: HttpTarget };

/** The same for a handler whose target is a script. */
export const aScriptHandler = ({
  script,
  timeoutMs,
  ...parts
}: HandlerParts & { script: string; timeoutMs?: number }): Handler =>
  complete({ ...parts, target: { type: 'script', script, timeoutMs } });

export const aRegisteredHandler = (parts: Parameters<typeof aHandler>[0] = {}): RegisteredHandler => {
  const handler = aHandler(parts);
  return {
    handler,
    filter: openFilter(handler),
    signing: { keys: [signingKeyOf(newSigningSecret())] },
    auth: null,
    targetVersion: 1,
    health: null,
  };
};

/** The text of an EventBridge event, as the queue carries it. */
export function anEvent({
  id = randomUUID(),
  type = 'client.create',
  source = 'billing',
  time = '2026-11-23T10:00:00Z',
  detail = { objectId: 12, data: { id: 12, name: 'Ada' } },
}: { id?: string; type?: string; source?: string; time?: string; detail?: unknown } = {}): string {
  return JSON.stringify({
    version: '0',
    id,
    'detail-type': type,
    source,
    account: '000000000000',
    time,
    region: 'us-east-1',
    resources: [],
    detail,
  });
}

/** An execution that succeeded at its first attempt, unless a test says otherwise. */
export function anExecution({
  handlerId = 'h_1234567890abcdef',
  eventId = randomUUID(),
  time = '2026-11-23T10:00:00.000Z',
  type = 'client.create',
  shards = 1,
  ...record
}: Partial<Omit<ExecutionRecord, 'key' | 'event'>> & {
  handlerId?: string;
  eventId?: string;
  time?: string;
  type?: string;
  shards?: number;
} = {}): ExecutionRecord {
  return {
    key: executionKey(handlerId, { id: eventId, time }, new Date(time), shards),
    handlerName: 'CRM sync',
    event: { type, time, objectId: 12, raw: anEvent({ id: eventId, type, time }) },
    state: { status: 'succeeded' },
    generation: 1,
    attemptsBefore: 0,
    putOffs: 0,
    startedAt: time,
    attemptCount: 1,
    attempts: [
      { number: 1, at: time, durationMs: 41, statusCode: 200, error: null, response: 'ok', output: null },
    ],
    request: {
      type: 'http',
      method: 'POST',
      url: 'https://crm.example/hook',
      headers: {},
      format: 'standard',
    },
    ...record,
  };
}
