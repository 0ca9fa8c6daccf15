import type { TestProject } from 'vitest/node';
import { engineToken, startEngineProcess } from '../support/engine.ts';
import './system-under-test.ts';

/** Runs the acceptance tests against the engine. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const engine = await startEngineProcess('memory');
  project.provide('system', {
    apiUrl: engine.url,
    token: engineToken,
    awsEndpoint: engine.url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'upstream', secretAccessKey: 'upstream' },
    certificate: null,
    busName: 'handoff',
    receiverHost: '127.0.0.1',
    lacks: [],
  });
  return async () => {
    await engine.end('SIGTERM');
  };
}
