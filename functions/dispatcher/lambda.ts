import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseEnv } from '../../shared/env.ts';
import { readAttributes } from '../../shared/executions/requeue.ts';
import { log } from '../../shared/log.ts';
import { dispatchBatch, type Message } from './dispatch.ts';
import { DispatcherEnv } from './env.ts';
import { buildServices, type Services } from './services.ts';

const metrics = new Metrics({ serviceName: 'dispatcher' });
let services: Services | undefined;

/** Called by the events queue with up to 100 messages. Answers which of them must come back. */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  services ??= buildServices(parseEnv(DispatcherEnv, process.env));
  const startedAt = Date.now();
  const messages = event.Records.map(messageOf);
  const deadline = new Date(startedAt + context.getRemainingTimeInMillis());

  const report = await dispatchBatch(services, messages, deadline);

  const level = report.problems.length > 0 ? 'error' : 'info';
  log[level]('batch.dispatched', { ...report, durationMs: Date.now() - startedAt });
  for (const [status, count] of Object.entries(report.executions)) {
    metrics.addMetric(`executions.${status}`, MetricUnit.Count, count);
  }
  metrics.addMetric('putOff', MetricUnit.Count, report.putOff);
  metrics.addMetric('deadLetters', MetricUnit.Count, report.deadLetters);
  metrics.publishStoredMetrics();
  return { batchItemFailures: report.failedMessageIds.map((itemIdentifier) => ({ itemIdentifier })) };
}

function messageOf({ messageId, body, attributes, messageAttributes }: SQSRecord): Message {
  const texts = Object.entries(messageAttributes).map(([name, { stringValue }]) => [name, stringValue]);
  const { firstSentAt, goesOnAt } = readAttributes(Object.fromEntries(texts));
  return {
    id: messageId,
    body,
    sentAt: firstSentAt ?? new Date(Number(attributes.SentTimestamp)),
    receives: Number(attributes.ApproximateReceiveCount),
    sentAgain: firstSentAt !== null,
    goesOnAt,
  };
}
