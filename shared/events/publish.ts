import { PutEventsCommand, type EventBridgeClient } from '@aws-sdk/client-eventbridge';

/** An event to be put on the bus. */
export type NewEvent = {
  type: string;
  /** The service that emits it. Never `handoff`: that is Handoff itself. */
  source: string;
  /** EventBridge keeps whole seconds. */
  time: Date;
  detail: { objectId: number | string | null; data: unknown };
};

export type EventPublisher = (event: NewEvent) => Promise<{ id: string }>;

/** Puts events on the deployment's bus. */
export function createEventPublisher({
  eventBridge,
  busName,
}: {
  eventBridge: EventBridgeClient;
  busName: string;
}): EventPublisher {
  return async ({ type, source, time, detail }) => {
    const { Entries } = await eventBridge.send(
      new PutEventsCommand({
        Entries: [
          {
            EventBusName: busName,
            Source: source,
            DetailType: type,
            Time: time,
            Detail: JSON.stringify(detail),
          },
        ],
      }),
    );
    // PutEvents answers 200 even when it took nothing: what counts stands in the entry.
    const entry = Entries?.[0];
    if (entry?.EventId === undefined) {
      throw new Error(
        `The bus ${busName} did not take the event ${type}: ${entry?.ErrorCode} ${entry?.ErrorMessage}`,
      );
    }
    return { id: entry.EventId };
  };
}
