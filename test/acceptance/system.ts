import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { EventBridgeClient, PutEventsCommand, type PutEventsResultEntry } from '@aws-sdk/client-eventbridge';
import { inject, vi } from 'vitest';
import type { Execution, ExecutionDetail } from '../../shared/executions/execution.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { apiThrough, sendWithToken } from '../support/api.ts';
import { startReceiver, type Receiver, type Respond } from '../support/http-server.ts';
import type { Lack } from './system-under-test.ts';

/** A change of a handler works for events that are published this long after the answer. No sooner is promised. */
const inForceAfterMs = 1000;
const patience = { timeout: 20_000, interval: 50 };

/** For `it.skipIf`: whether the system under test lacks what a test is about. */
export const lacks = (what: Lack): boolean => inject('system').lacks.includes(what);

/** The system from outside: its API over HTTP, its bus through the AWS SDK. */
export function connect() {
  const system = inject('system');
  const { apiUrl, token, awsEndpoint, region, credentials, certificate, busName, receiverHost } = system;
  if (certificate !== null) setDefaultCACertificates([...getCACertificates('default'), certificate]);
  const send = sendWithToken(apiUrl, token);
  const api = apiThrough(send);
  const upstream = new EventBridgeClient({ endpoint: awsEndpoint, region, credentials });
  const created: string[] = [];
  let changedAt = 0;
  const inForce = () => delay(Math.max(0, changedAt + inForceAfterMs - Date.now()));

  return {
    apiUrl,
    busName,
    /** For requests that `api` would not send. */
    send,
    api,
    upstream,
    /** An endpoint that the system may call. */
    startReceiver: (respond: Respond): Promise<Receiver> => startReceiver(respond, { host: receiverHost }),
    /** An event type of this test's own, so that tests do not see each other's events. */
    newType: (): string => `acceptance.t${randomUUID().replaceAll('-', '')}`,

    /** Registers a handler of a URL, or of a script. */
    async createHandler(
      handler: { events: string[]; [field: string]: unknown } & ({ url: string } | { script: string }),
    ): Promise<Handler & { secret: string }> {
      const { url, script, target, ...input } = handler as Record<string, unknown>;
      const answer = await api.post<Handler & { secret: string }>('/v1/handlers', {
        name: 'acceptance',
        ...input,
        target: {
          ...(script === undefined ? { type: 'http', url } : { type: 'script', script }),
          ...(target as object | undefined),
        },
      });
      created.push(answer.id);
      changedAt = Date.now();
      return answer;
    },

    async changeHandler(id: string, changes: object): Promise<void> {
      await api.patch(`/v1/handlers/${id}`, changes);
      changedAt = Date.now();
    },

    /** Resolves when all changes of handlers so far work. */
    inForce,

    /** Publishes on the bus as an upstream does, when all changes work, and answers the entries of PutEvents. */
    async putEvents(...events: { type: string; detail?: unknown }[]): Promise<PutEventsResultEntry[]> {
      await inForce();
      const { Entries = [] } = await upstream.send(
        new PutEventsCommand({
          Entries: events.map(({ type, detail = { objectId: 12, data: { id: 12 } } }) => ({
            EventBusName: busName,
            Source: 'acceptance',
            DetailType: type,
            Detail: JSON.stringify(detail),
          })),
        }),
      );
      return Entries;
    },

    /** The executions of a handler, as soon as there are so many. */
    waitForExecutions: (handlerId: string, count: number): Promise<Execution[]> =>
      vi.waitUntil<Execution[] | null>(async () => {
        const { items } = await api.get<{ items: Execution[] }>(
          `/v1/executions?handlerId=${handlerId}&limit=100`,
        );
        return items.length >= count ? items : null;
      }, patience),

    /** The first execution of a handler, as soon as it has this status. */
    waitForStatus: (handlerId: string, status: Execution['status']): Promise<Execution> =>
      vi.waitUntil<Execution | null>(async () => {
        const { items } = await api.get<{ items: Execution[] }>(`/v1/executions?handlerId=${handlerId}`);
        return items.find((execution) => execution.status === status) ?? null;
      }, patience),

    getExecution: (id: string): Promise<ExecutionDetail> => api.get(`/v1/executions/${id}`),

    /** Takes back what the test made. */
    async close(): Promise<void> {
      for (const id of created.splice(0)) await api.delete(`/v1/handlers/${id}`).catch(() => undefined);
      upstream.destroy();
    },
  };
}

export type System = ReturnType<typeof connect>;
