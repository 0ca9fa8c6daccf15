import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { toItem } from '../../../shared/executions/item.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { createHealthStore } from '../../../shared/handlers/health-store.ts';
import { anExecution } from '../../support/builders.ts';
import type { startLane } from './lane.ts';

const retention = { endedDays: 30, heldDays: 90 };

type Lane = Awaited<ReturnType<typeof startLane>>;

/** Parks so many executions of a handler, as dispatchers would, and opens its circuit. */
export async function parkMany(at: Lane, handler: Handler, count: number): Promise<void> {
  const now = at.clock.now();
  const items = Array.from({ length: count }, (_, index) =>
    toItem(
      anExecution({
        handlerId: handler.id,
        time: new Date(now.getTime() - index).toISOString(),
        state: { status: 'waiting', reason: 'circuit' },
        attemptCount: 0,
        attempts: [],
        request: null,
      }),
      retention,
      now,
    ),
  );
  while (items.length > 0) {
    await at.dynamo.send(
      new BatchWriteCommand({
        RequestItems: {
          [at.executionsTable]: items.splice(0, 25).map((Item) => ({ PutRequest: { Item } })),
        },
      }),
    );
  }
  const health = createHealthStore({
    dynamo: at.dynamo,
    tableName: at.handlersTable,
    handlers: at.store,
    scale: 1,
    now: at.clock.now,
  });
  const subject = { handlerId: handler.id, targetVersion: 1 };
  const since = now.toISOString();
  await health.reportFailures(subject, { count: 5, since, aliveAt: null, maxGapMs: 60_000 });
  if (!(await health.open(subject, { random: 0 }))) throw new Error('The circuit did not open.');
}
