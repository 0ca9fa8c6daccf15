import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { parseEnv } from '../../shared/env.ts';
import { log } from '../../shared/log.ts';
import { RetrierEnv } from './env.ts';
import { retryBatch } from './retry.ts';
import { buildServices, type Services } from './services.ts';

const metrics = new Metrics({ serviceName: 'retrier' });
let services: Services | undefined;

/** Called by the retries queue with wake-up calls. Answers which of them must come back. */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  services ??= buildServices(parseEnv(RetrierEnv, process.env));
  const startedAt = Date.now();
  const messages = event.Records.map(({ messageId, body, attributes }) => ({
    id: messageId,
    body,
    sentAt: new Date(Number(attributes.SentTimestamp)),
  }));
  const deadline = new Date(startedAt + context.getRemainingTimeInMillis());

  const report = await retryBatch(services, messages, deadline);

  const level = report.problems.length > 0 ? 'error' : 'info';
  log[level]('batch.retried', { ...report, durationMs: Date.now() - startedAt });
  for (const [status, count] of Object.entries(report.executions)) {
    metrics.addMetric(`executions.${status}`, MetricUnit.Count, count);
  }
  metrics.publishStoredMetrics();
  return { batchItemFailures: report.failedMessageIds.map((itemIdentifier) => ({ itemIdentifier })) };
}
