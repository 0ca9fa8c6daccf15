import { PutEventsCommand, type EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { ownSources } from './sources.ts';

/** Something about Handoff's own life, for a handler or anybody else on the bus to react to. */
export type OwnEvent =
  | {
      type: 'handoff.execution.failed';
      /** Of the event whose execution it is. */
      objectId: number | string | null;
      data: {
        executionId: string;
        handlerId: string;
        handlerName: string;
        eventId: string;
        event: string;
        attemptCount: number;
        statusCode: number | null;
        error: string | null;
      };
    }
  | {
      type: 'handoff.handler.disabled';
      objectId: string;
      data: { handlerId: string; handlerName: string; because: 'gone' | 'failing' };
    }
  | {
      type: 'handoff.circuit.opened' | 'handoff.circuit.closed';
      objectId: string;
      data: { handlerId: string; handlerName: string; since: string };
    };

/**
 * Tells them on the bus. Gives what went wrong: that is worth a line in the log, and no reason to do anything again. The log of
 * executions and the handlers themselves are the truth.
 */
export type Announce = (events: readonly OwnEvent[]) => Promise<unknown[]>;

// Limit of PutEvents.
const maxEntries = 10;

/** Announces events on the deployment's bus. */
export function createAnnouncer({
  eventBridge,
  busName,
  now,
}: {
  eventBridge: EventBridgeClient;
  busName: string;
  now: () => Date;
}): Announce {
  async function put(events: readonly OwnEvent[]): Promise<unknown[]> {
    try {
      const { Entries = [] } = await eventBridge.send(
        new PutEventsCommand({
          Entries: events.map(({ type, objectId, data }) => ({
            EventBusName: busName,
            Source: ownSources.itself,
            DetailType: type,
            Time: now(),
            Detail: JSON.stringify({ objectId, data }),
          })),
        }),
      );
      return Entries.flatMap(({ ErrorCode, ErrorMessage }, index) =>
        ErrorCode === undefined
          ? []
          : [new Error(`The bus did not take ${events[index]?.type}: ${ErrorCode} ${ErrorMessage}`)],
      );
    } catch (cause) {
      return [
        new Error(`The bus did not take ${events.length} events of Handoff: ${String(cause)}`, { cause }),
      ];
    }
  }

  return async (events) => {
    const batches = Array.from({ length: Math.ceil(events.length / maxEntries) }, (_, index) =>
      events.slice(index * maxEntries, (index + 1) * maxEntries),
    );
    return (await Promise.all(batches.map(put))).flat();
  };
}

/** Whether an event is one of these: what is done for it is not told, or telling would never end. */
export const isOwnEvent = ({ source }: { source: string }): boolean => source === ownSources.itself;
