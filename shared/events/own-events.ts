import type { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { putEvents } from './put-events.ts';
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

/** Announces events on the deployment's bus. Once: what is only told is not worth the time of the events that wait. */
export const createAnnouncer =
  ({
    eventBridge,
    busName,
    now,
  }: {
    eventBridge: EventBridgeClient;
    busName: string;
    now: () => Date;
  }): Announce =>
  async (events) => {
    const results = await putEvents(
      eventBridge,
      events.map(({ type, objectId, data }) => ({
        EventBusName: busName,
        Source: ownSources.itself,
        DetailType: type,
        Time: now(),
        Detail: JSON.stringify({ objectId, data }),
      })),
      { tries: 1 },
    );
    return results.flatMap((result, index) =>
      'id' in result
        ? []
        : [
            new Error(`The bus did not take ${events[index]?.type}: ${result.error.message}`, {
              cause: result.error,
            }),
          ],
    );
  };

/** Whether an event is one of these: what is done for it is not told, or telling would never end. */
export const isOwnEvent = ({ source }: { source: string }): boolean => source === ownSources.itself;
