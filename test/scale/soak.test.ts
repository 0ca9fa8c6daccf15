import { expect, it } from 'vitest';
import { runSoak } from '../../bench/soak/run-soak.ts';

it('balances its books after some thousand events and two deaths', { timeout: 300_000 }, async () => {
  const report = await runSoak({ events: 3000, kills: 2 });
  console.info(`soak: ${JSON.stringify(report)}`);
  expect(report.problems).toEqual([]);
  const { succeeded, failed, waiting, held } = report.executions;
  expect(succeeded + failed + waiting + held).toBe(report.accepted);
  expect(report.accepted).toBe(3000);
});
