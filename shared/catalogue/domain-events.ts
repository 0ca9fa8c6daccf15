// Pure: imports nothing but zod and what is exact with money.
import { z } from 'zod';
import { decimalPattern } from '../events/decimal.ts';

/** An event type, whoever knows it: the billing domain, or Handoff itself. */
export type DescribedEvent = {
  /** The `detail-type`, e.g. `client.create`. */
  name: string;
  /** What admins know it by, e.g. `Clients: create`. It begins with its group and a colon. */
  label: string;
  /** What the old system called it, e.g. `clients.create`; null for what it did not have. */
  oldId: string | null;
  /** When it is emitted, and what it carries. */
  description: string;
  /** Of a whole `Detail`. Its objects are loose: upstreams may say more, and that reaches the receiver untouched. */
  detail: z.ZodType;
  /** A realistic `Detail`. */
  sample: { objectId: number | string; data: object; [field: string]: unknown };
};

const notMoney = 'must be a decimal string such as "12.5000"';
const Money = z.string(notMoney).regex(decimalPattern, notMoney).describe('A decimal string');
const Time = z.iso.datetime({
  offset: true,
  error: 'must be an ISO 8601 time with an offset, such as "2026-11-23T10:00:00+00:00"',
});
const Id = z.union([z.number(), z.string().min(1)], 'must be an id: a number or a text');
const Currency = z.string().describe('ISO 4217');
const Count = z.int('must be a whole number').min(0, 'must not be negative');
const FieldNames = z.array(z.string());

/** A whole `Detail`. */
const detailOf = <Data extends z.ZodRawShape>(data: Data) =>
  z.looseObject({ objectId: Id.describe("The entity's own id"), data: z.looseObject(data) });

/** What stands beside the data of an update. */
const changes = {
  changed: FieldNames.describe('The names of the changed fields'),
  previous: z.looseObject({}).describe('The changed fields as they were before'),
};

const clientFields = {
  name: z.string(),
  companyId: Id,
  currency: Currency,
  status: z.string(),
  credit: Money.describe('How far the balance may go below zero, a decimal string'),
  balance: Money,
  tags: z.array(z.string()),
  contacts: z.looseObject({
    email: z.string().nullable(),
    billingEmail: z.string().nullable(),
    address: z.string().nullable(),
  }),
  taxId: z.string().nullable(),
  timezone: z.string().describe('A name of the IANA database'),
  customFields: z.looseObject({}),
};
const accountFields = {
  name: z.string(),
  authType: z.string(),
  ani: z.string().nullable().describe('The number that is shown to who is called'),
  ips: z.array(z.string()),
  techPrefix: z.string().nullable(),
  originationEnabled: z.boolean(),
  terminationEnabled: z.boolean(),
};
const balanceFields = {
  id: Id,
  balance: Money,
  previousBalance: Money,
  currency: Currency,
  credit: clientFields.credit,
};
const subscriptionFields = { id: Id, clientId: Id, packageId: Id };
const importFields = {
  importId: Id,
  rateTableIds: z.array(Id),
  user: z.string(),
  file: z.looseObject({ name: z.string() }),
};

/** All of them may be left out. */
const anyOf = <Fields extends z.ZodRawShape>(fields: Fields) => z.object(fields).partial().shape;

const client = {
  id: 12,
  name: 'Northwind Telecom',
  companyId: 1,
  currency: 'EUR',
  status: 'active',
  credit: '100.0000',
  balance: '12.5000',
  tags: ['wholesale'],
  contacts: {
    email: 'noc@northwind.example',
    billingEmail: 'billing@northwind.example',
    address: 'Harbour Street 4, Rotterdam',
  },
  taxId: 'NL001234567B01',
  timezone: 'Europe/Amsterdam',
  customFields: { crmId: 'C-4711' },
};
const account = {
  id: 310,
  clientId: 12,
  name: 'northwind-sbc-1',
  authType: 'ip',
  ani: '31201234567',
  ips: ['203.0.113.10'],
  techPrefix: '77#',
  originationEnabled: true,
  terminationEnabled: true,
};
const subscription = { id: 5501, clientId: 12, packageId: 7 };
const importResult = {
  importId: 9001,
  rateTableIds: [41],
  user: 'rates@carrier.example',
  file: { name: 'northwind-2026-12.csv' },
};

/** The event types of the billing domain, in the order in which lists show them. */
export const domainEvents = [
  {
    name: 'client.create',
    label: 'Clients: create',
    oldId: 'clients.create',
    description:
      'A client was created; the data is the whole client: company, currency, balance and credit, contacts, tax id and custom fields.',
    detail: detailOf({ id: Id, ...clientFields }),
    sample: { objectId: 12, data: client },
  },
  {
    name: 'client.update',
    label: 'Clients: update',
    oldId: 'clients.update',
    description:
      'Fields of a client were changed; the data has its id and the new values; "changed" beside it names the fields, and "previous" has their old values.',
    detail: detailOf({ id: Id, ...anyOf(clientFields) }).extend(changes),
    sample: {
      objectId: 12,
      data: { id: 12, credit: '250.0000' },
      changed: ['credit'],
      previous: { credit: '100.0000' },
    },
  },
  {
    name: 'client.delete',
    label: 'Clients: delete',
    oldId: 'clients.delete',
    description: 'A client was deleted for good; the data has its id, its last name and the time.',
    detail: detailOf({ id: Id, name: z.string(), deletedAt: Time }),
    sample: { objectId: 12, data: { id: 12, name: client.name, deletedAt: '2026-11-23T10:00:00+00:00' } },
  },
  {
    name: 'client.archive',
    label: 'Clients: archive',
    oldId: 'clients.archive',
    description:
      'A client was archived: out of use, its history kept; the data has its id, its name and the time.',
    detail: detailOf({ id: Id, name: z.string(), archivedAt: Time }),
    sample: { objectId: 12, data: { id: 12, name: client.name, archivedAt: '2026-11-23T10:00:00+00:00' } },
  },
  {
    name: 'client.custom_fields.update',
    label: 'Clients: custom fields update',
    oldId: 'clients.custom_fields.update',
    description:
      'Custom fields of a client were changed; the data has the custom fields as they are now, and in "changed" the names of those that changed.',
    detail: detailOf({
      id: Id,
      customFields: z.looseObject({}).describe('All of them, as they are now'),
      changed: FieldNames.describe('The names of those that changed'),
    }),
    sample: { objectId: 12, data: { id: 12, customFields: { crmId: 'C-4712' }, changed: ['crmId'] } },
  },
  {
    name: 'client.balance.nonnegative',
    label: 'Clients: balance became >=0',
    oldId: 'clients.balance_notzero',
    description:
      'The balance of a client rose to zero or above, so service can go on; the data has the balance before and after, the currency and the credit.',
    detail: detailOf(balanceFields),
    sample: {
      objectId: 12,
      data: { id: 12, balance: '5.0000', previousBalance: '-3.2500', currency: 'EUR', credit: '100.0000' },
    },
  },
  {
    name: 'client.balance.nonpositive',
    label: 'Clients: balance became <=0',
    oldId: 'clients.balance_zero',
    description:
      'The balance of a client fell to zero or below, so service may have to stop; the data has the balance before and after, the currency and the credit.',
    detail: detailOf(balanceFields),
    sample: {
      objectId: 12,
      data: { id: 12, balance: '0.0000', previousBalance: '5.0000', currency: 'EUR', credit: '100.0000' },
    },
  },
  {
    name: 'account.create',
    label: 'Accounts: create',
    oldId: 'clients.accounts.create',
    description:
      'An account of a client was created; the data is the whole account: how it authenticates, its addresses and prefix, and whether it may originate and terminate calls.',
    detail: detailOf({ id: Id, clientId: Id, ...accountFields }),
    sample: { objectId: 310, data: account },
  },
  {
    name: 'account.update',
    label: 'Accounts: update',
    oldId: 'clients.accounts.update',
    description:
      'Fields of an account were changed; the data has its id, its client and the new values; "changed" beside it names the fields, and "previous" has their old values.',
    detail: detailOf({ id: Id, clientId: Id, ...anyOf(accountFields) }).extend(changes),
    sample: {
      objectId: 310,
      data: { id: 310, clientId: 12, ips: ['203.0.113.10', '203.0.113.11'] },
      changed: ['ips'],
      previous: { ips: ['203.0.113.10'] },
    },
  },
  {
    name: 'account.delete',
    label: 'Accounts: delete',
    oldId: 'clients.accounts.delete',
    description:
      'An account of a client was deleted; the data has its id, its client, its last name and the amount that was refunded.',
    detail: detailOf({ id: Id, clientId: Id, name: z.string(), refundedAmount: Money }),
    sample: { objectId: 310, data: { id: 310, clientId: 12, name: account.name, refundedAmount: '0.0000' } },
  },
  {
    name: 'subscription.assign',
    label: 'Subscriptions: assign',
    oldId: 'clients.subscriptions.assign',
    description:
      'A package was assigned to a client, or to one of its accounts; the data has the package, the quantity and when the subscription starts and stops.',
    detail: detailOf({
      ...subscriptionFields,
      accountId: Id.optional().describe('Where it is for one account of the client'),
      quantity: Count,
      startAt: Time,
      stopAt: Time.optional(),
      condition: z.literal('new'),
    }),
    sample: {
      objectId: 5501,
      data: {
        ...subscription,
        accountId: 310,
        quantity: 1,
        startAt: '2026-12-01T00:00:00+01:00',
        condition: 'new',
      },
    },
  },
  {
    name: 'subscription.activate',
    label: 'Subscriptions: activate',
    oldId: 'clients.subscriptions.activate',
    description:
      'A subscription became active; the data has its client, its package and the first period that is charged.',
    detail: detailOf({
      ...subscriptionFields,
      activatedAt: Time,
      periodStart: Time,
      periodEnd: Time,
      condition: z.literal('activated'),
    }),
    sample: {
      objectId: 5501,
      data: {
        ...subscription,
        activatedAt: '2026-12-01T00:00:00+01:00',
        periodStart: '2026-12-01T00:00:00+01:00',
        periodEnd: '2027-01-01T00:00:00+01:00',
        condition: 'activated',
      },
    },
  },
  {
    name: 'subscription.deactivate',
    label: 'Subscriptions: deactivate',
    oldId: 'clients.subscriptions.deactivate',
    description:
      'A subscription became inactive; the data has the time, and in "mode" whether a period began, a period ended or a person did it.',
    detail: detailOf({
      ...subscriptionFields,
      deactivatedAt: Time,
      mode: z.enum(['period_start', 'period_end', 'manual']),
      condition: z.literal('deactivated'),
    }),
    sample: {
      objectId: 5501,
      data: {
        ...subscription,
        deactivatedAt: '2027-01-01T00:00:00+01:00',
        mode: 'period_end',
        condition: 'deactivated',
      },
    },
  },
  {
    name: 'subscription.renew',
    label: 'Subscriptions: renew',
    oldId: 'clients.subscriptions.renew',
    description:
      'A subscription went into its next period; the data has the new period, the end of the one before, and the amount that was charged.',
    detail: detailOf({
      ...subscriptionFields,
      periodStart: Time,
      periodEnd: Time,
      previousPeriodEnd: Time,
      amount: Money,
      currency: Currency,
    }),
    sample: {
      objectId: 5501,
      data: {
        ...subscription,
        periodStart: '2027-01-01T00:00:00+01:00',
        periodEnd: '2027-02-01T00:00:00+01:00',
        previousPeriodEnd: '2027-01-01T00:00:00+01:00',
        amount: '49.0000',
        currency: 'EUR',
      },
    },
  },
  {
    name: 'subscription.close',
    label: 'Subscriptions: close',
    oldId: 'clients.subscriptions.close',
    description:
      'A subscription was closed and will not be renewed; the data has its client, its package, when it stops and why.',
    detail: detailOf({ ...subscriptionFields, stopAt: Time, reason: z.string() }),
    sample: {
      objectId: 5501,
      data: { ...subscription, stopAt: '2027-02-01T00:00:00+01:00', reason: 'cancelled by the client' },
    },
  },
  {
    name: 'email_rates.import',
    label: 'Email Rates Manager: email rates manager import',
    oldId: 'email_rates_manager.import',
    description:
      'Rates arrived by e-mail and are handed over to be imported; the data has the sender and the subject, the rate tables and the template they are for, and the attached file with its checksum and URL.',
    detail: detailOf({
      rateTableIds: z.array(Id),
      templateId: Id,
      from: z.string().describe('The address of the sender'),
      subject: z.string(),
      receivedAt: Time,
      file: z.looseObject({
        name: z.string(),
        size: Count.describe('In bytes'),
        sha256: z
          .string()
          .regex(/^[0-9a-fA-F]{64}$/u, 'must be 64 hexadecimal digits')
          .describe('64 hexadecimal digits'),
        url: z.string().describe('Where the file can be had'),
      }),
    }),
    sample: {
      objectId: 41,
      data: {
        rateTableIds: [41],
        templateId: 3,
        from: 'rates@carrier.example',
        subject: 'Rates valid from 1 December',
        receivedAt: '2026-11-23T09:58:00+00:00',
        file: {
          name: 'northwind-2026-12.csv',
          size: 48_213,
          sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
          url: 'https://files.carrier.example/rates/northwind-2026-12.csv',
        },
      },
    },
  },
  {
    name: 'import.failed',
    label: 'Import: import process failed',
    oldId: 'importd.process_failed',
    description:
      'An import of rates ended with an error; the data has the file, its rate tables, who started it, the error and, where it is known, the row.',
    detail: detailOf({
      ...importFields,
      error: z.looseObject({ code: z.string(), message: z.string() }),
      row: Count.optional().describe('Of the file'),
    }),
    sample: {
      objectId: 9001,
      data: {
        ...importResult,
        error: { code: 'bad_prefix', message: 'Prefix "31a" is not a number' },
        row: 118,
      },
    },
  },
  {
    name: 'import.success',
    label: 'Import: import process success',
    oldId: 'importd.process_success',
    description:
      'An import of rates ended well; the data has the file, its rate tables, who started it, and how many rates are new, dearer, cheaper and unchanged.',
    detail: detailOf({
      ...importFields,
      total: Count,
      new: Count,
      increased: Count,
      decreased: Count,
      unchanged: Count,
      startedAt: Time,
      finishedAt: Time,
    }),
    sample: {
      objectId: 9001,
      data: {
        ...importResult,
        total: 1204,
        new: 12,
        increased: 40,
        decreased: 81,
        unchanged: 1071,
        startedAt: '2026-11-23T09:59:00+00:00',
        finishedAt: '2026-11-23T10:00:00+00:00',
      },
    },
  },
] as const satisfies readonly DescribedEvent[];
