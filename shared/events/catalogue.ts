import { closest } from 'fastest-levenshtein';

/** An event type of the billing domain. */
export type BuiltInEventType = {
  /** The `detail-type`, e.g. `client.create`. */
  name: string;
  /** What admins know it by, e.g. `Clients: create`. */
  label: string;
  /** The part of the label before its colon: `Clients`. */
  group: string;
  /** What the old system called it, e.g. `clients.create`. */
  oldId: string;
  /** When it is emitted, and what it carries. */
  description: string;
  /** A realistic `Detail`. */
  sample: { objectId: number | string; data: object; [field: string]: unknown };
};

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

const described: readonly Omit<BuiltInEventType, 'group'>[] = [
  {
    name: 'client.create',
    label: 'Clients: create',
    oldId: 'clients.create',
    description:
      'A client was created; the data is the whole client: company, currency, balance and credit, contacts, tax id and custom fields.',
    sample: { objectId: 12, data: client },
  },
  {
    name: 'client.update',
    label: 'Clients: update',
    oldId: 'clients.update',
    description:
      'Fields of a client were changed; the data has its id and the new values; "changed" beside it names the fields, and "previous" has their old values.',
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
    sample: { objectId: 12, data: { id: 12, name: client.name, deletedAt: '2026-11-23T10:00:00+00:00' } },
  },
  {
    name: 'client.archive',
    label: 'Clients: archive',
    oldId: 'clients.archive',
    description:
      'A client was archived: out of use, its history kept; the data has its id, its name and the time.',
    sample: { objectId: 12, data: { id: 12, name: client.name, archivedAt: '2026-11-23T10:00:00+00:00' } },
  },
  {
    name: 'client.custom_fields.update',
    label: 'Clients: custom fields update',
    oldId: 'clients.custom_fields.update',
    description:
      'Custom fields of a client were changed; the data has the custom fields as they are now, and in "changed" the names of those that changed.',
    sample: { objectId: 12, data: { id: 12, customFields: { crmId: 'C-4712' }, changed: ['crmId'] } },
  },
  {
    name: 'client.balance.nonnegative',
    label: 'Clients: balance became >=0',
    oldId: 'clients.balance_notzero',
    description:
      'The balance of a client rose to zero or above, so service can go on; the data has the balance before and after, the currency and the credit.',
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
    sample: { objectId: 310, data: account },
  },
  {
    name: 'account.update',
    label: 'Accounts: update',
    oldId: 'clients.accounts.update',
    description:
      'Fields of an account were changed; the data has its id, its client and the new values; "changed" beside it names the fields, and "previous" has their old values.',
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
    sample: { objectId: 310, data: { id: 310, clientId: 12, name: account.name, refundedAmount: '0.0000' } },
  },
  {
    name: 'subscription.assign',
    label: 'Subscriptions: assign',
    oldId: 'clients.subscriptions.assign',
    description:
      'A package was assigned to a client, or to one of its accounts; the data has the package, the quantity and when the subscription starts and stops.',
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
];

/** The event types of the billing domain. Names that begin like one of these must be one of these. */
export const builtInEventTypes: readonly BuiltInEventType[] = described.map((type) => ({
  ...type,
  group: type.label.slice(0, type.label.indexOf(':')),
}));

const builtInNames = builtInEventTypes.map(({ name }) => name);
const builtInPrefixes = new Set(builtInNames.map((name) => name.slice(0, name.indexOf('.') + 1)));

// All that could have been meant by a mistyped pattern: `client.*`, `client.balance.*` and the names themselves.
const builtInPatterns = [
  ...builtInNames,
  ...builtInNames.flatMap((name) =>
    [...name.matchAll(/\./gu)].map(({ index }) => `${name.slice(0, index)}.*`),
  ),
];

/** The built-in name nearest to a name that begins like one of them; null for all other names. */
export const nearestBuiltIn = (name: string): string | null =>
  builtInPrefixes.has(name.slice(0, name.indexOf('.') + 1)) ? closest(name, builtInNames) : null;

const notBefore = 'handlers only run after the fact, there are no "before" events';

// Lower-case dotted names: client.create, crm.contact_merged. EventBridge allows 128 characters.
const dottedName = /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$/u;
const dotted = dottedName.source.slice(1, -1);
const maxNameLength = 128;

/** What a description of the API can say about the name of an event type, and of a pattern; the two functions below know it all. */
export const eventTypeForm = { pattern: dottedName.source, maxLength: maxNameLength };
export const eventPatternForm = {
  pattern: String.raw`^(\*|${dotted}(\.\*)?)$`,
  maxLength: maxNameLength,
};

/** Why `name` cannot be an event type, as a sentence; null when it can. */
export function eventTypeProblem(name: string): string | null {
  if (name.length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (!dottedName.test(name)) return 'must be a lower-case dotted name such as client.create';
  if (name.startsWith('before.')) return notBefore;
  const nearest = nearestBuiltIn(name);
  return nearest === null || nearest === name
    ? null
    : `there is no event type "${name}"; did you mean "${nearest}"?`;
}

/**
 * Why `pattern` cannot stand in a handler's `events`, as a sentence; null when it can.
 * A pattern is an exact name, a prefix and a star (`client.*`), or `*`.
 */
export function eventPatternProblem(pattern: string): string | null {
  if (pattern === '*') return null;
  if (!pattern.endsWith('.*')) return eventTypeProblem(pattern);
  const stem = pattern.slice(0, -2);
  if (pattern.length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (!dottedName.test(stem)) return 'must be a name, a name with ".*" at its end, or "*"';
  if (`${stem}.`.startsWith('before.')) return notBefore;
  const prefix = `${stem}.`;
  const startsLikeBuiltIn = [...builtInPrefixes].some((known) => prefix.startsWith(known));
  if (startsLikeBuiltIn && !builtInNames.some((name) => name.startsWith(prefix))) {
    return `no event type begins with "${prefix}"; did you mean "${closest(pattern, builtInPatterns)}"?`;
  }
  return null;
}
