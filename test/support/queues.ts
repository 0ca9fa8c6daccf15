import { openQueues } from '../../local/queue.ts';
import { listen } from '../../local/server.ts';
import { createSqsEndpoint, queueUrl } from '../../local/sqs-endpoint.ts';
import { retriesQueue } from '../../shared/aws/queues.ts';
import { createSqs } from '../../shared/aws/clients.ts';

/** The retries queue behind SQS's protocol, in memory, and the project's own client on it. */
export async function startTestQueue() {
  const queues = openQueues({ file: ':memory:' });
  const queue = queues.open('retries', {
    visibilityTimeoutMs: retriesQueue.visibilityTimeoutSeconds * 1000,
  });
  const endpoint = createSqsEndpoint({
    queues: new Map([['retries', queue]]),
    accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
  });
  const server = await listen('127.0.0.1', 0, endpoint);
  process.env['AWS_ENDPOINT_URL_SQS'] = `http://127.0.0.1:${server.port}`;
  const sqs = createSqs();
  return {
    sqs,
    queue,
    queueUrl: queueUrl(server.port, 'retries'),
    async [Symbol.asyncDispose]() {
      sqs.destroy();
      await server.close(0);
      queues.close();
    },
  };
}
