import type { OpenAuth } from '../../shared/delivery/authorize.ts';
import { randomUUID } from 'node:crypto';
import { sentRequestOf } from '../../shared/delivery/request.ts';
import { builtInEventTypes } from '../../shared/catalogue/catalogue.ts';
import { parseEvent, type DomainEvent } from '../../shared/events/envelope.ts';
import { parseExact } from '../../shared/filters/exact-json.ts';
import { filteredEvent, TooManyStepsError } from '../../shared/filters/match-filter.ts';
import type { Transforms } from '../../shared/transforms/transform.ts';
import { makeAttempt } from '../../shared/executions/attempt.ts';
import { summarize, type ExecutionDetail, type ExecutionRecord } from '../../shared/executions/execution.ts';
import { executionKey } from '../../shared/executions/key.ts';
import { beginExecution } from '../../shared/executions/settle.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { openFilter, patternsFor, type Signing } from '../../shared/handlers/registry.ts';
import type { NewEvent } from './new-event.ts';
import type { Services } from './services.ts';
import { sentRequest, showRequest } from './sent-request.ts';
import { testFilter } from './test-filter.ts';

/** What a test shows. It is not in the log: a test is no event. */
export type HandlerTest = {
  /** Null when nothing was sent. */
  execution: Omit<ExecutionDetail, 'id'> | null;
  request: ExecutionDetail['request'];
  response: { statusCode: number | null; body: string | null; durationMs: number } | null;
  filter: { matches: boolean | null; reasons?: string[] };
};

// API Gateway gives up after 30 s and cannot be told otherwise.
const maxTestMs = 20_000;

const source = 'handoff.test';

/**
 * Runs a handler now, once, with a given event or the sample of the first event type that it asked for. Whether it is
 * enabled is not asked: a test is how one finds out before enabling it.
 *
 * @param send false only shows what would be sent
 */
export async function testHandler(
  services: Pick<Services, 'targets' | 'now' | 'eventTypes'>,
  { handler, signing, auth }: { handler: Handler; signing: Signing; auth: OpenAuth },
  { event: given, send }: { event: NewEvent | undefined; send: boolean },
): Promise<HandlerTest> {
  const { targets, now, eventTypes } = services;
  const event = testEvent(given ?? (await sampleFor(handler, eventTypes)), now());
  const key = executionKey(handler.id, event, now(), 1);
  if (!send) {
    const request = await showRequest(targets.transforms, sentRequestOf(handler), {
      event,
      handler,
      execution: { id: 'test', attempt: 1 },
      at: now(),
    });
    return { execution: null, request, response: null, filter: testFilterOf(handler, event) };
  }
  const target = { ...handler.target, timeoutMs: Math.min(handler.target.timeoutMs, maxTestMs) };
  const record = await makeAttempt(
    // What the endpoint demands is not done for a test, and what it answers says nothing about its health.
    {
      targets,
      now,
      random: () => 0,
      retryScale: 1,
      disableHandler: async () => 'changed',
      observe: (_, __, call) => call(),
    },
    // A failure is an answer here, nothing waits for another attempt.
    {
      handler: { ...handler, target, retry: { schedule: 'none' } },
      // A test says whether it matches, and runs all the same.
      filter: null,
      signing,
      auth,
      targetVersion: handler.version,
      health: null,
    },
    beginExecution(key, handler, event),
    event,
  );
  return { ...(await showTest(targets.transforms, record, event)), filter: testFilterOf(handler, event) };
}

/** Whether the handler would have got the event. */
function testFilterOf(handler: Handler, event: DomainEvent): HandlerTest['filter'] {
  const filter = openFilter(handler);
  if (filter === null) return { matches: true };
  if ('problem' in filter) return { matches: null, reasons: [filter.problem] };
  try {
    return testFilter(filter, filteredEvent(event));
  } catch (error) {
    if (!(error instanceof TooManyStepsError)) throw error;
    return { matches: null, reasons: [error.message] };
  }
}

async function showTest(
  transforms: Pick<Transforms, 'run'>,
  record: ExecutionRecord,
  event: DomainEvent,
): Promise<Omit<HandlerTest, 'filter'>> {
  const { id: _id, ...execution } = summarize(record);
  const request = await sentRequest(transforms, record);
  const last = record.attempts.at(-1);
  return {
    execution: {
      ...execution,
      eventBody: parseExact(event.raw) as Record<string, unknown>,
      request,
      attempts: [...record.attempts],
    },
    request,
    response:
      last === undefined
        ? null
        : { statusCode: last.statusCode, body: last.response, durationMs: last.durationMs },
  };
}

/** The sample of the first event type that the handler asked for and somebody has described; else an event without data. */
async function sampleFor(
  { events }: Handler,
  eventTypes: Services['eventTypes'],
): Promise<Pick<NewEvent, 'type'> & Record<string, unknown>> {
  const describedByThem = (await eventTypes.readAll()).flatMap(({ name, custom }) =>
    custom === null ? [] : [{ name, sample: custom.sample }],
  );
  for (const pattern of events) {
    const known = [...builtInEventTypes, ...describedByThem].find(({ name }) =>
      patternsFor(name).includes(pattern),
    );
    if (known !== undefined) return { type: known.name, ...known.sample };
  }
  const [first = '*'] = events;
  return { type: first.replace(/\.\*$/u, '.test'), objectId: null, data: {} };
}

function testEvent({ type, ...detail }: Pick<NewEvent, 'type'>, now: Date): DomainEvent {
  const parsed = parseEvent(
    JSON.stringify({
      version: '0',
      id: `test-${randomUUID()}`,
      'detail-type': type,
      source,
      account: '000000000000',
      time: `${now.toISOString().slice(0, 19)}Z`,
      region: 'test',
      resources: [],
      detail,
    }),
  );
  if (!parsed.ok) throw new Error(`The test event cannot be read: ${parsed.reason}`);
  return parsed.event;
}
