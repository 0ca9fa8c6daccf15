import type { TestProject } from 'vitest/node';
import { engineToken, startEngineProcess } from '../support/engine.ts';

declare module 'vitest' {
  // oxlint-disable-next-line typescript/consistent-type-definitions -- vitest's own interface is extended
  interface ProvidedContext {
    /** Where the system under test is. The tests reach it through these alone. */
    system: {
      apiUrl: string;
      token: string;
      /** What an upstream has as AWS_ENDPOINT_URL. */
      awsEndpoint: string;
      busName: string;
      /** An address of this machine that the system may call. */
      receiverHost: string;
    };
  }
}

/** Runs the acceptance tests against the engine. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const engine = await startEngineProcess('memory');
  project.provide('system', {
    apiUrl: engine.url,
    token: engineToken,
    awsEndpoint: engine.url,
    busName: 'handoff',
    receiverHost: '127.0.0.1',
  });
  return async () => {
    await engine.end('SIGTERM');
  };
}
