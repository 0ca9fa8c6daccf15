import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { DueEntry, DueLease } from '../../../shared/executions/due.ts';
import type { WaitingExecution } from '../../../shared/executions/claim.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from '../../functions/retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const minuteMs = 60_000;

/** One execution whose wake-up call is lost, and the right to send it, which the first of two sweepers has. */
async function leaseOne() {
  await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
  await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
  await lane.dispatch();
  lane.clock.advance(5 * minuteMs);
  const [first, second] = [lane.coldSweeper().dueIndex, lane.coldSweeper().dueIndex];
  const readDue = async (): Promise<DueEntry[]> => {
    const entries: DueEntry[] = [];
    for await (const page of second.readDue()) entries.push(...page);
    return entries;
  };
  const [entry] = (await readDue()) as [DueEntry];
  const lease = (await first.lease(entry)) as DueLease;
  return { entry, lease, second, readDue };
}

describe('a wake-up call that was not sent', () => {
  it('is due again for everybody', async () => {
    const { entry, lease, second, readDue } = await leaseOne();
    expect(await readDue()).toEqual([]);
    await lease.giveBack();
    expect(await readDue()).toEqual([entry]);
    expect(await second.lease(entry)).not.toBeNull();
  });

  it('is not given back by who has lost the right to send it', async () => {
    const { lease, second, readDue } = await leaseOne();
    lane.clock.advance(20 * minuteMs);
    const [again] = (await readDue()) as [DueEntry];
    await second.lease(again);
    await lease.giveBack();
    expect(await readDue()).toEqual([]);
  });

  it('is not due while its execution is called, although the queue seemed not to take it', async () => {
    const { entry, lease, readDue } = await leaseOne();
    const { claims } = lane.coldRetrier();
    const found = (await claims.read(entry)) as WaitingExecution;
    expect(await claims.claim(found, 10_000)).not.toBeNull();
    await lease.giveBack();
    expect(await readDue()).toEqual([]);
  });
});
