import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context } from 'aws-lambda';
import { parseEnv } from '../../shared/env.ts';
import { log } from '../../shared/log.ts';
import { SweeperEnv } from './env.ts';
import { buildServices, type Services } from './services.ts';
import { sweep } from './sweep.ts';

const metrics = new Metrics({ serviceName: 'sweeper' });
let services: Services | undefined;

/** Called every minute. Fails when something went wrong, so that the alarm on its errors sees it; the next run goes on. */
export async function handler(_event: unknown, context: Context): Promise<void> {
  services ??= buildServices(parseEnv(SweeperEnv, process.env));
  const startedAt = Date.now();

  const report = await sweep(services, new Date(startedAt + context.getRemainingTimeInMillis()));

  // A metric is billed for as long as it has values, and the alarms take silence for zero.
  if (report.deadLetters > 0) metrics.addMetric('deadLetters', MetricUnit.Count, report.deadLetters);
  if (report.deadWakeUps > 0) metrics.addMetric('deadWakeUps', MetricUnit.Count, report.deadWakeUps);
  if (metrics.hasStoredMetrics()) metrics.publishStoredMetrics();
  const line = { ...report, durationMs: Date.now() - startedAt };
  if (report.problems.length > 0) throw new Error(`The sweep had problems: ${JSON.stringify(line)}`);
  // 1,440 runs a day find nothing to do: those are not worth a line.
  const { woken, hurried, ended, released, probes, deadLetters, deadWakeUps, unfinished } = report;
  const isIdle = woken + hurried + ended + released + probes + deadLetters + deadWakeUps === 0 && !unfinished;
  log[isIdle ? 'debug' : 'info']('sweep.done', line);
}
