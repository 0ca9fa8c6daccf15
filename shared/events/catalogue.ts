import { closest } from 'fastest-levenshtein';

/** An event type of the billing domain, with a realistic `Detail`. */
type BuiltInEventType = {
  name: string;
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

/** The event types of the billing domain. Names that begin like one of these must be one of these. */
export const builtInEventTypes: readonly BuiltInEventType[] = [
  { name: 'client.create', sample: { objectId: 12, data: client } },
  {
    name: 'client.update',
    sample: {
      objectId: 12,
      data: { id: 12, credit: '250.0000' },
      changed: ['credit'],
      previous: { credit: '100.0000' },
    },
  },
  {
    name: 'client.delete',
    sample: { objectId: 12, data: { id: 12, name: client.name, deletedAt: '2026-11-23T10:00:00+00:00' } },
  },
  {
    name: 'client.archive',
    sample: { objectId: 12, data: { id: 12, name: client.name, archivedAt: '2026-11-23T10:00:00+00:00' } },
  },
  {
    name: 'client.custom_fields.update',
    sample: { objectId: 12, data: { id: 12, customFields: { crmId: 'C-4712' }, changed: ['crmId'] } },
  },
  {
    name: 'client.balance.nonnegative',
    sample: {
      objectId: 12,
      data: { id: 12, balance: '5.0000', previousBalance: '-3.2500', currency: 'EUR', credit: '100.0000' },
    },
  },
  {
    name: 'client.balance.nonpositive',
    sample: {
      objectId: 12,
      data: { id: 12, balance: '0.0000', previousBalance: '5.0000', currency: 'EUR', credit: '100.0000' },
    },
  },
  { name: 'account.create', sample: { objectId: 310, data: account } },
  {
    name: 'account.update',
    sample: {
      objectId: 310,
      data: { id: 310, clientId: 12, ips: ['203.0.113.10', '203.0.113.11'] },
      changed: ['ips'],
      previous: { ips: ['203.0.113.10'] },
    },
  },
  {
    name: 'account.delete',
    sample: { objectId: 310, data: { id: 310, clientId: 12, name: account.name, refundedAmount: '0.0000' } },
  },
  {
    name: 'subscription.assign',
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
    sample: {
      objectId: 5501,
      data: { ...subscription, stopAt: '2027-02-01T00:00:00+01:00', reason: 'cancelled by the client' },
    },
  },
  {
    name: 'email_rates.import',
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

const builtInNames = builtInEventTypes.map(({ name }) => name);
const builtInPrefixes = new Set(builtInNames.map((name) => name.slice(0, name.indexOf('.') + 1)));

// All that could have been meant by a mistyped pattern: `client.*`, `client.balance.*` and the names themselves.
const builtInPatterns = [
  ...builtInNames,
  ...builtInNames.flatMap((name) =>
    [...name.matchAll(/\./gu)].map(({ index }) => `${name.slice(0, index)}.*`),
  ),
];

const notBefore = 'handlers only run after the fact, there are no "before" events';

// Lower-case dotted names: client.create, crm.contact_merged. EventBridge allows 128 characters.
const dottedName = /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$/u;

/** Why `name` cannot be an event type, as a sentence; null when it can. */
export function eventTypeProblem(name: string): string | null {
  if (name.length > 128) return 'is longer than 128 characters';
  if (!dottedName.test(name)) return 'must be a lower-case dotted name such as client.create';
  if (name.startsWith('before.')) return notBefore;
  const startsLikeBuiltIn = builtInPrefixes.has(name.slice(0, name.indexOf('.') + 1));
  if (startsLikeBuiltIn && !builtInNames.includes(name)) {
    return `there is no event type "${name}"; did you mean "${closest(name, builtInNames)}"?`;
  }
  return null;
}

/**
 * Why `pattern` cannot stand in a handler's `events`, as a sentence; null when it can.
 * A pattern is an exact name, a prefix and a star (`client.*`), or `*`.
 */
export function eventPatternProblem(pattern: string): string | null {
  if (pattern === '*') return null;
  if (!pattern.endsWith('.*')) return eventTypeProblem(pattern);
  const stem = pattern.slice(0, -2);
  if (pattern.length > 128) return 'is longer than 128 characters';
  if (!dottedName.test(stem)) return 'must be a name, a name with ".*" at its end, or "*"';
  if (`${stem}.`.startsWith('before.')) return notBefore;
  const prefix = `${stem}.`;
  const startsLikeBuiltIn = [...builtInPrefixes].some((known) => prefix.startsWith(known));
  if (startsLikeBuiltIn && !builtInNames.some((name) => name.startsWith(prefix))) {
    return `no event type begins with "${prefix}"; did you mean "${closest(pattern, builtInPatterns)}"?`;
  }
  return null;
}
