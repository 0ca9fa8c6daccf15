import { startReceiver } from './http-server.ts';

/** What a function is, or the error that Lambda answers with in its stead. */
export type LambdaConfiguration =
  | { Runtime: string; Description?: string }
  | { status: number; error: string };

const notFound = { status: 404, error: 'ResourceNotFoundException' };

/**
 * Answers GetFunctionConfiguration as a Lambda does that is throttled, forbidden, or has other functions than the engine
 * would ever run, and leads this thread's new clients there until it is closed.
 */
export async function startLambdaConfigurations(functions: Record<string, LambdaConfiguration>) {
  let configurations = new Map(Object.entries(functions));
  const receiver = await startReceiver(({ method, path }, response) => {
    const [, encoded = ''] = /^\/2015-03-31\/functions\/([^/]+)\/configuration$/u.exec(path) ?? [];
    const name = decodeURIComponent(encoded);
    const found = (method === 'GET' ? configurations.get(name) : undefined) ?? notFound;
    if ('error' in found) {
      response
        .writeHead(found.status, { 'content-type': 'application/json', 'x-amzn-errortype': found.error })
        .end(JSON.stringify({ Message: `inner words about ${name}` }));
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ FunctionName: name, Description: '', ...found }));
  });
  const before = process.env['AWS_ENDPOINT_URL_LAMBDA'];
  process.env['AWS_ENDPOINT_URL_LAMBDA'] = receiver.url;
  return {
    /** The names that were asked for, in the order of their arrival. */
    asked: () => receiver.requests.map(({ path }) => decodeURIComponent(path.split('/')[3] ?? '')),
    /** Other functions from now on. */
    deploy(others: Record<string, LambdaConfiguration>) {
      configurations = new Map(Object.entries(others));
    },
    async [Symbol.asyncDispose]() {
      if (before === undefined) delete process.env['AWS_ENDPOINT_URL_LAMBDA'];
      else process.env['AWS_ENDPOINT_URL_LAMBDA'] = before;
      await receiver.close();
    },
  };
}
