import { createDynamo } from '../../shared/aws/clients.ts';

/** One call of the SDK: its command (`PutItem`), and its input as plain JavaScript values. */
export type SdkCall = { name: string; input: Record<string, unknown> };

/** Gives an answer in DynamoDB's place, throws in its place, or calls `send` and gives what that gave. */
export type Answer = (call: SdkCall, send: () => Promise<object>) => Promise<object>;

/**
 * Another client of the embedded DynamoDB that notes its calls, in the order in which they were begun. `answer`
 * is the way to a DynamoDB that is slow, throttled or gone, which the embedded one never is.
 */
export function createRecordingDynamo(answer: Answer = (_, send) => send()) {
  const dynamo = createDynamo();
  const calls: SdkCall[] = [];
  dynamo.middlewareStack.add(
    (next, context) => async (args) => {
      const call = {
        name: String(context['commandName']).replace(/Command$/u, ''),
        input: args.input as Record<string, unknown>,
      };
      calls.push(call);
      let response: unknown;
      const output = await answer(call, async () => {
        const result = await next(args);
        response = result.response;
        return result.output;
      });
      return { output: output as never, response };
    },
    { step: 'initialize', name: 'recordCalls', priority: 'low' },
  );
  return {
    dynamo,
    calls,
    /** The names of the calls so far, in order. */
    names: () => calls.map(({ name }) => name),
    [Symbol.dispose]() {
      dynamo.destroy();
    },
  };
}
