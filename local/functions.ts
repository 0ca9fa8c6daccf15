import type { ApiHandler } from './http-api.ts';
import type { SqsHandler } from './event-source.ts';
import type { ScheduledHandler } from './schedule.ts';

/** The entry points of the Lambdas that the engine runs. */
export type Functions = {
  dispatcher: SqsHandler;
  retrier: SqsHandler;
  sweeper: ScheduledHandler;
  api: ApiHandler;
};

/**
 * Loads the functions. Their clients are built from the environment at the first call and stay, so it must be
 * set before, and one process can run one engine with them.
 */
export async function loadFunctions(): Promise<Functions> {
  const [dispatcher, retrier, sweeper, api] = await Promise.all([
    import('../functions/dispatcher/lambda.ts'),
    import('../functions/retrier/lambda.ts'),
    import('../functions/sweeper/lambda.ts'),
    import('../functions/api/lambda.ts'),
  ]);
  // Hono's type of the event wants a body and an authorizer in every request; at run time it does without.
  return {
    dispatcher: dispatcher.handler,
    retrier: retrier.handler,
    sweeper: sweeper.handler,
    api: api.handler as unknown as ApiHandler,
  };
}
