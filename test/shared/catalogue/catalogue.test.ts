import { describe, expect, it } from 'vitest';
import {
  builtInEventTypes,
  eventPatternProblem,
  eventTypeProblem,
  nearestBuiltIn,
} from '../../../shared/catalogue/catalogue.ts';
import { toJsonSchema } from '../../../shared/catalogue/catalogue-schema.ts';
import { sentencesOf, zodProblems } from '../../../shared/catalogue/detail-problem.ts';
import { parseEvent } from '../../../shared/events/envelope.ts';
import { handoffEvents } from '../../../shared/catalogue/handoff-events.ts';
import { compileJsonSchema } from '../../../shared/catalogue/json-schema.ts';
import { anEvent } from '../../support/builders.ts';

const shape = 'must be a lower-case dotted name such as client.create';
const notBefore = 'handlers only run after the fact, there are no "before" events';

describe('builtInEventTypes', () => {
  // As admins know them from the system before this one.
  const known = [
    ['client.create', 'Clients: create', 'clients.create'],
    ['client.update', 'Clients: update', 'clients.update'],
    ['client.delete', 'Clients: delete', 'clients.delete'],
    ['client.archive', 'Clients: archive', 'clients.archive'],
    ['client.custom_fields.update', 'Clients: custom fields update', 'clients.custom_fields.update'],
    ['client.balance.nonnegative', 'Clients: balance became >=0', 'clients.balance_notzero'],
    ['client.balance.nonpositive', 'Clients: balance became <=0', 'clients.balance_zero'],
    ['account.create', 'Accounts: create', 'clients.accounts.create'],
    ['account.update', 'Accounts: update', 'clients.accounts.update'],
    ['account.delete', 'Accounts: delete', 'clients.accounts.delete'],
    ['subscription.assign', 'Subscriptions: assign', 'clients.subscriptions.assign'],
    ['subscription.activate', 'Subscriptions: activate', 'clients.subscriptions.activate'],
    ['subscription.deactivate', 'Subscriptions: deactivate', 'clients.subscriptions.deactivate'],
    ['subscription.renew', 'Subscriptions: renew', 'clients.subscriptions.renew'],
    ['subscription.close', 'Subscriptions: close', 'clients.subscriptions.close'],
    ['email_rates.import', 'Email Rates Manager: email rates manager import', 'email_rates_manager.import'],
    ['import.failed', 'Import: import process failed', 'importd.process_failed'],
    ['import.success', 'Import: import process success', 'importd.process_success'],
  ];

  it('has each with its label, its group and its old id, in the order of the old list', () => {
    expect(builtInEventTypes.map(({ name, label, oldId }) => [name, label, oldId])).toEqual(known);
    for (const { label, group } of builtInEventTypes) expect(label.startsWith(`${group}: `)).toBe(true);
    expect(new Set(builtInEventTypes.map(({ group }) => group))).toEqual(
      new Set(['Clients', 'Accounts', 'Subscriptions', 'Email Rates Manager', 'Import']),
    );
  });

  it('describes each in a sentence of its own', () => {
    const descriptions = builtInEventTypes.map(({ description }) => description);
    expect(new Set(descriptions).size).toBe(18);
    for (const description of descriptions) expect(description).toMatch(/^[A-Z][^\n]{40,250}\.$/u);
  });

  it('shows in each sample what its description names', () => {
    const sample = (name: string) => builtInEventTypes.find((type) => type.name === name)?.sample;
    for (const { description, name } of builtInEventTypes) {
      for (const [, field = ''] of description.matchAll(/"(\w+)"/gu)) {
        expect(JSON.stringify(sample(name))).toContain(`"${field}":`);
      }
    }
  });
});

describe('the schemas of the catalogue', () => {
  const typeOf = (name: string) => {
    const found = [...builtInEventTypes, ...handoffEvents].find((type) => type.name === name);
    if (found === undefined) throw new Error(`There is no ${name}.`);
    return found;
  };
  const problemsOf = (name: string, detail: unknown) => sentencesOf(zodProblems(typeOf(name).detail, detail));
  const names = [...builtInEventTypes, ...handoffEvents].map(({ name }) => name);

  it.each(names)('say yes to the sample of %s, in zod and in JSON Schema', (name) => {
    const { detail, sample } = typeOf(name);
    expect(zodProblems(detail, sample)).toEqual([]);
    expect(compileJsonSchema(toJsonSchema(detail))(sample)).toEqual([]);
  });

  it.each(builtInEventTypes)(
    'let pass what they do not know, wherever it is: $name',
    ({ detail, sample }) => {
      const more = { ...sample, data: { ...sample.data, vatRate: '19' }, traceparent: '00-1' };
      const file = 'file' in sample.data ? { file: { ...(sample.data.file as object), lines: 7 } } : {};
      expect(zodProblems(detail, { ...more, data: { ...more.data, ...file } })).toEqual([]);
    },
  );

  it.each(builtInEventTypes)(
    'want each field of the sample, but what an update or a "?" may leave out: $name',
    ({ name, detail, sample }) => {
      const optional = new Set([
        'accountId',
        'stopAt',
        'row',
        ...(name.endsWith('.update') ? ['credit', 'ips'] : []),
      ]);
      if (name === 'subscription.close') optional.delete('stopAt');
      for (const field of Object.keys(sample.data)) {
        const { [field]: _, ...data } = sample.data as Record<string, unknown>;
        expect([field, sentencesOf(zodProblems(detail, { ...sample, data }))]).toEqual([
          field,
          optional.has(field) ? [] : [`data.${field} is missing`],
        ]);
      }
      for (const field of Object.keys(sample)) {
        const { [field]: _, ...others } = sample;
        expect(sentencesOf(zodProblems(detail, others))).toEqual([`${field} is missing`]);
      }
    },
  );

  it('hold money, times, ids and lists to their form, and say it without the value', () => {
    const { sample } = typeOf('client.create');
    const data = {
      ...sample.data,
      id: null,
      balance: 12.5,
      credit: '1e3',
      currency: 978,
      tags: 'vip-4711',
      contacts: { email: 7, billingEmail: null, address: null },
      taxId: null,
      companyId: 'a-1',
    };
    expect(problemsOf('client.create', { ...sample, data })).toEqual([
      'data.id must be an id: a number or a text',
      'data.currency must be a string',
      'data.credit must be a decimal string such as "12.5000"',
      'data.balance must be a decimal string such as "12.5000"',
      'data.tags must be a list',
      'data.contacts.email must be a string',
    ]);
    const closed = typeOf('subscription.deactivate').sample;
    expect(
      problemsOf('subscription.deactivate', {
        ...closed,
        data: { ...closed.data, deactivatedAt: '2027-01-01T00:00:00', mode: 'auto', condition: 'new' },
      }),
    ).toEqual([
      'data.deactivatedAt must be an ISO 8601 time with an offset, such as "2026-11-23T10:00:00+00:00"',
      'data.mode must be "period_start" or "period_end" or "manual"',
      'data.condition must be "deactivated"',
    ]);
    expect(problemsOf('client.update', { objectId: 1, data: { id: 1, name: 7 }, changed: 'name' })).toEqual([
      'data.name must be a string',
      'changed must be a list',
      'previous is missing',
    ]);
    expect(problemsOf('import.success', { objectId: 1, data: [] })).toEqual(['data must be an object']);
    expect(problemsOf('import.success', {})).toEqual(['objectId is missing', 'data is missing']);
  });

  it('say ten things at most, however much is wrong', () => {
    const { sample } = typeOf('client.create');
    const wrong = { ...sample, data: { ...sample.data, tags: Array.from({ length: 100_000 }, () => 7) } };
    const sentences = problemsOf('client.create', wrong);
    expect(sentences).toHaveLength(10);
    expect(sentences.slice(0, 2)).toEqual(['data.tags.0 must be a string', 'data.tags.1 must be a string']);
    expect(sentences.at(-1)).toBe('and many more');
    expect(problemsOf('client.create', { objectId: 1, data: {} }).at(-1)).toBe('and 3 more');
  });
});

describe('nearestBuiltIn', () => {
  it.each([
    ['client.craete', 'client.create'],
    ['client.', 'client.create'],
    ['import.success', 'import.success'],
    ['client', null],
    ['crm.create', null],
    ['', null],
    ['.', null],
  ])('of %j: %j', (name, nearest) => {
    expect(nearestBuiltIn(name)).toBe(nearest);
  });
});

describe('eventTypeProblem', () => {
  it('takes every built-in type, and parseEvent every sample', () => {
    for (const { name, sample } of builtInEventTypes) {
      expect(eventTypeProblem(name)).toBeNull();
      expect(parseEvent(anEvent({ type: name, detail: sample }))).toMatchObject({
        ok: true,
        event: { type: name, objectId: sample.objectId, detail: sample },
      });
    }
  });

  it.each([
    'crm.contact_merged',
    'a',
    'orders.v2.created',
    'my-app.thing-done',
    'clients.create',
    'x'.repeat(128),
  ])("takes a deployer's own type %s", (name) => {
    expect(eventTypeProblem(name)).toBeNull();
  });

  it.each([
    ['client.craete', 'client.create'],
    ['client.created', 'client.create'],
    ['client.balance.positive', 'client.balance.nonpositive'],
    ['account.delet', 'account.delete'],
    ['subscription.activated', 'subscription.activate'],
    ['import.sucess', 'import.success'],
    ['email_rates.imports', 'email_rates.import'],
  ])('refuses %s, which begins like a built-in one, and suggests %s', (name, suggestion) => {
    expect(eventTypeProblem(name)).toBe(`there is no event type "${name}"; did you mean "${suggestion}"?`);
  });

  it('refuses events before the fact', () => {
    expect(eventTypeProblem('before.client.create')).toBe(notBefore);
    expect(eventTypeProblem('before_client.create')).toBeNull();
  });

  it.each([
    '',
    '.',
    'Client.create',
    'client.',
    '.client',
    'client..create',
    'a b',
    'client.*',
    '*',
    'größe',
    '1a',
    'a\n',
  ])('refuses the shape of %j', (name) => {
    expect(eventTypeProblem(name)).toBe(shape);
  });

  it('refuses more than 128 characters', () => {
    expect(eventTypeProblem('x'.repeat(129))).toBe('is longer than 128 characters');
  });
});

describe('eventPatternProblem', () => {
  it.each(['*', 'client.*', 'client.balance.*', 'handoff.*', 'crm.*', 'client.create', 'email_rates.*'])(
    'takes %s',
    (pattern) => {
      expect(eventPatternProblem(pattern)).toBeNull();
    },
  );

  it.each([
    ['client.balanec.*', 'client.balance.*'],
    ['clientx.*', null],
    ['import.failde.*', 'import.failed'],
    ['client.create.*', 'client.create'],
    ['email_rates.x.*', 'email_rates.*'],
  ])('suggests for %s, where names must be built-in, %s', (pattern, suggestion) => {
    expect(eventPatternProblem(pattern)).toBe(
      suggestion === null
        ? null
        : `no event type begins with "${pattern.slice(0, -1)}"; did you mean "${suggestion}"?`,
    );
  });

  it('refuses events before the fact', () => {
    expect(eventPatternProblem('before.*')).toBe(notBefore);
    expect(eventPatternProblem('before.client.*')).toBe(notBefore);
  });

  it.each(['.*', 'Client.*', 'a..*', 'client.*.*', '**.*', 'a b.*'])('refuses the shape of %s', (pattern) => {
    expect(eventPatternProblem(pattern)).toBe('must be a name, a name with ".*" at its end, or "*"');
  });

  it.each(['**', '*.create', 'client*', 'client.*.create', ''])(
    'refuses %j, a star anywhere else',
    (pattern) => {
      expect(eventPatternProblem(pattern)).toBe(shape);
    },
  );

  it('refuses more than 128 characters', () => {
    expect(eventPatternProblem(`${'x'.repeat(126)}.*`)).toBeNull();
    expect(eventPatternProblem(`${'x'.repeat(127)}.*`)).toBe('is longer than 128 characters');
  });
});
