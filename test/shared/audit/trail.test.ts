import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Change } from '../../../shared/audit/change.ts';
import { createAuditTrail } from '../../../shared/audit/trail.ts';
import { ConflictError, InvalidInputError } from '../../../shared/errors.ts';
import { startEnvironment, type Environment } from '../../functions/environment.ts';
import { refusal } from '../../support/dynamo-wire.ts';
import { createClock } from '../../support/clock.ts';
import { createDynamo } from '../../../shared/aws/clients.ts';

let environment: Environment;
beforeAll(async () => {
  environment = await startEnvironment();
});
afterEach(() => environment.clear());
afterAll(() => environment[Symbol.asyncDispose]());

const clock = createClock('2026-11-23T10:00:00.000Z');
const open = ({ keptDays = 365, now = clock.now } = {}) =>
  createAuditTrail({ dynamo: createDynamo(), tableName: environment.handlersTable, keptDays, now });
const ada = { name: 'ada', ip: '192.0.2.7' };
const aChange = (subject = 'h_1'): Change => ({
  action: 'handler.edit',
  subject,
  before: { name: 'CRM' },
  after: { name: 'CRM 2' },
});
const nothing = async () => undefined;

describe('a change', () => {
  it('is noted with who made it, from where, when, what it was before and what came of it', async () => {
    clock.set('2026-11-23T10:00:00.000Z');
    const trail = open();
    const made = await trail.record(
      ada,
      aChange(),
      async () => {
        clock.advance(40);
        return 7;
      },
      (version) => ({ version }),
    );
    expect(made).toBe(7);
    expect(await trail.list(10)).toEqual({
      entries: [
        {
          id: expect.stringMatching(/^2026-11-23T10:00:00\.000Z#[0-9a-f]{12}$/u) as string,
          at: '2026-11-23T10:00:00.000Z',
          ...aChange(),
          by: 'ada',
          ip: '192.0.2.7',
          outcome: 'done',
          endedAt: '2026-11-23T10:00:00.040Z',
          result: { version: 7 },
        },
      ],
      nextCursor: null,
    });
  });

  it('is on record before it is made', async () => {
    const trail = open();
    await trail.record(ada, aChange(), async () => {
      expect((await trail.list(1)).entries).toMatchObject([{ outcome: 'unconfirmed', endedAt: null }]);
    });
    expect((await trail.list(1)).entries).toMatchObject([{ outcome: 'done' }]);
  });

  it('is not made when it cannot be noted', async () => {
    environment.wire.intercept(({ operation }) => (operation === 'PutItem' ? refusal : null));
    let isMade = false;
    const attempt = open().record(ada, aChange(), async () => {
      isMade = true;
    });
    await expect(attempt).rejects.toThrow(Error);
    expect(isMade).toBe(false);
  });

  it('that is refused says so, and why', async () => {
    const trail = open();
    for (const error of [
      new ConflictError('version', 'It has changed.'),
      new InvalidInputError([{ field: 'name', message: 'must not be empty' }]),
    ]) {
      await expect(trail.record(ada, aChange(), () => Promise.reject(error))).rejects.toBe(error);
      const [entry] = (await trail.list(1)).entries;
      expect(entry).toMatchObject({ outcome: 'refused', result: error.message });
      clock.advance(1);
    }
  });

  it('that fails by a fault of ours stays unconfirmed: it may have been done', async () => {
    const trail = open();
    const fault = new Error('The table does not answer.');
    await expect(trail.record(ada, aChange(), () => Promise.reject(fault))).rejects.toBe(fault);
    expect((await trail.list(10)).entries).toMatchObject([{ outcome: 'unconfirmed', result: null }]);
  });

  it('is answered when it is made, although its outcome could not be noted', async () => {
    const trail = open();
    const made = await trail.record(ada, aChange(), async () => {
      environment.wire.intercept(({ operation }) => (operation === 'PutItem' ? refusal : null));
      return 'made';
    });
    expect(made).toBe('made');
    environment.wire.reset();
    expect((await trail.list(10)).entries).toMatchObject([{ outcome: 'unconfirmed' }]);
  });
});

describe('the list', () => {
  /** Two rows for most, one for each third, over three months. */
  async function fill(count: number): Promise<string[]> {
    const trail = open();
    const subjects: string[] = [];
    for (let index = 0; index < count; index++) {
      clock.set(new Date(Date.UTC(2026, 8, 1) + index * 3 * 86_400_000).toISOString());
      const subject = `h_${index}`;
      const make = index % 3 === 0 ? () => Promise.reject(new Error('died')) : nothing;
      await trail.record(ada, aChange(subject), make).catch(() => undefined);
      subjects.unshift(subject);
    }
    clock.set('2026-11-30T10:00:00.000Z');
    return subjects;
  }

  it.each([1, 2, 3, 7, 100])('has every entry once, newest first, %d a page', async (limit) => {
    const subjects = await fill(25);
    const trail = open();
    const seen: { subject: string | null; outcome: string }[] = [];
    let cursor: string | undefined;
    do {
      const page = await trail.list(limit, cursor);
      expect(page.entries.length).toBeLessThanOrEqual(limit);
      seen.push(...page.entries);
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen.map(({ subject }) => subject)).toEqual(subjects);
    for (const { subject, outcome } of seen) {
      expect(outcome, subject ?? '').toBe(Number(subject?.slice(2)) % 3 === 0 ? 'unconfirmed' : 'done');
    }
  });

  it('has several of the same millisecond', async () => {
    clock.set('2026-11-23T10:00:00.000Z');
    const trail = open();
    await Promise.all(['a', 'b', 'c', 'd'].map((subject) => trail.record(ada, aChange(subject), nothing)));
    const { entries } = await trail.list(10);
    expect(entries.map(({ subject }) => subject).toSorted()).toEqual(['a', 'b', 'c', 'd']);
    expect(entries.every(({ outcome }) => outcome === 'done')).toBe(true);
  });

  it('leaves out what has expired, although it is not deleted yet', async () => {
    clock.set('2026-09-01T10:00:00.000Z');
    await open({ keptDays: 10 }).record(ada, aChange('old'), nothing);
    clock.set('2026-09-12T10:00:00.000Z');
    await open({ keptDays: 10 }).record(ada, aChange('new'), nothing);
    const { entries } = await open({ keptDays: 10 }).list(10);
    expect(entries.map(({ subject }) => subject)).toEqual(['new']);
  });

  it('of a trail without entries is empty and ends', async () => {
    clock.set('2026-11-23T10:00:00.000Z');
    expect(await open({ keptDays: 60 }).list(10)).toEqual({ entries: [], nextCursor: null });
  });

  it.each(['nonsense', Buffer.from('{"pk":"HANDLER","sk":"h_1"}').toString('base64url')])(
    'takes no cursor of another list: %s',
    async (cursor) => {
      await environment.dynamo.send(
        new PutCommand({ TableName: environment.handlersTable, Item: { pk: 'HANDLER', sk: 'h_0' } }),
      );
      await expect(open().list(10, cursor)).rejects.toThrow('cursor: is not a cursor of this list');
    },
  );
});
