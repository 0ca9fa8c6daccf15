import { randomUUID } from 'node:crypto';
import { paginateQuery } from '@aws-sdk/lib-dynamodb';
import { dispatchBatch, type Message } from '../../../functions/dispatcher/dispatch.ts';
import { DispatcherEnv } from '../../../functions/dispatcher/env.ts';
import { buildServices, type Services } from '../../../functions/dispatcher/services.ts';
import { parseEnv } from '../../../shared/env.ts';
import { deadLetterBodyPartition, deadLettersPartition } from '../../../shared/dead-letters/dead-letters.ts';
import { anEvent } from '../../support/builders.ts';
import { startEnvironment } from '../environment.ts';

/** A message of the queue, received for the first time a second after its event. */
export const aMessage = ({
  id = randomUUID(),
  body = anEvent(),
  sentAt = new Date('2026-11-23T10:00:01Z'),
  receives = 1,
  sentAgain = false,
  goesOnAt = null,
}: Partial<Message> = {}): Message => ({ id, body, sentAt, receives, sentAgain, goesOnAt });

/** The same message, as the queue hands it out once more. */
export const again = (message: Message): Message => ({ ...message, receives: message.receives + 1 });

export const inMs = (ms: number): Date => new Date(Date.now() + ms);

export type DeadLetterRow = { id: string; reason: string; body: string };

/** The dispatcher on real parts: what the function's own `buildServices` makes of an environment. */
export async function startDispatcher() {
  const environment = await startEnvironment();
  const { dynamo, executionsTable } = environment;
  const built: Services[] = [];

  /** A fresh Lambda environment. */
  function coldStart(settings: Record<string, string> = {}, clock: { now?: () => Date } = {}): Services {
    const services = buildServices(parseEnv(DispatcherEnv, { ...environment.variables, ...settings }), clock);
    built.push(services);
    return services;
  }

  /** Dispatches in a fresh environment, unless a test brings its own. */
  const dispatch = (
    messages: readonly Message[],
    { services = coldStart(), deadline = inMs(180_000) }: { services?: Services; deadline?: Date } = {},
  ) => dispatchBatch(services, messages, deadline);

  async function rowsOf(pk: string): Promise<Record<string, unknown>[]> {
    const rows: Record<string, unknown>[] = [];
    const pages = paginateQuery(
      { client: dynamo },
      {
        TableName: executionsTable,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': pk },
      },
    );
    for await (const { Items = [] } of pages) rows.push(...Items);
    return rows;
  }

  async function deadLetters(): Promise<DeadLetterRow[]> {
    const rows = await rowsOf(deadLettersPartition);
    return Promise.all(
      rows.map(async ({ sk, reason }) => {
        const id = String(sk).slice(String(sk).indexOf('#') + 1);
        const parts = await rowsOf(deadLetterBodyPartition(id));
        const body = Buffer.concat(parts.map(({ part }) => part as Uint8Array)).toString();
        return { id, reason: String(reason), body };
      }),
    );
  }

  return {
    ...environment,
    coldStart,
    dispatch,
    rowsOf,
    deadLetters,
    /** After each test. */
    async clear() {
      await Promise.all(built.splice(0).map(({ targets }) => targets.agent.destroy()));
      await environment.clear();
    },
  };
}
