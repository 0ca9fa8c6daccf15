import { z } from 'zod';
import { PermanentError, type ScriptEvent } from '../../../shared/scripts/invocation.ts';
import { addDecimals, isDecimal, signOf } from '../../../shared/events/decimal.ts';

/** What to do about a client, and all that it was decided by. */
export type Decision = {
  action: 'suspend' | 'warn' | 'restore';
  clientId: number | string;
  /** Decimal strings, in `currency`. `available` is the balance and the credit limit together. */
  balance: string;
  credit: string;
  available: string;
  currency: string;
  /** Events come in any order, and repeats come late: drop a decision that is older than the last one for the client. */
  eventTime: string;
};

const balanceEventTypes = ['client.balance.nonpositive', 'client.balance.nonnegative'] as const;
type BalanceEvent = ScriptEvent & { 'detail-type': (typeof balanceEventTypes)[number] };

export const isBalanceEvent = (event: ScriptEvent): event is BalanceEvent =>
  balanceEventTypes.some((type) => type === event['detail-type']);

const moneyMessage = 'must be a decimal string such as "12.5000"';
const Money = z.string(moneyMessage).refine(isDecimal, moneyMessage);
const text = (message: string) => z.string(message).min(1, message);

const BalanceData = z.object(
  {
    id: z.union([z.number(), text('must be an id')], 'must be an id'),
    balance: Money,
    credit: Money,
    currency: text('must be a currency'),
  },
  'must be an object',
);

/** Throws a PermanentError that names the field when the event cannot be decided about. */
export function decide(event: BalanceEvent): Decision {
  const { id, balance, credit, currency } = readData(event.detail.data);
  const available = addDecimals(balance, credit);
  const facts = { clientId: id, balance, credit, available, currency, eventTime: event.time };
  switch (event['detail-type']) {
    case 'client.balance.nonpositive':
      refuseIf(signOf(balance) > 0, 'is above zero, and the event says that it is not');
      return { action: signOf(available) > 0 ? 'warn' : 'suspend', ...facts };
    case 'client.balance.nonnegative':
      refuseIf(signOf(balance) < 0, 'is below zero, and the event says that it is not');
      return { action: 'restore', ...facts };
    default:
      return event['detail-type'] satisfies never;
  }
}

// Whoever sent such an event is mistaken: better no decision than the wrong one.
function refuseIf(isContradiction: boolean, problem: string): void {
  if (isContradiction) throw new PermanentError(`detail.data.balance: ${problem}`);
}

function readData(data: unknown): z.output<typeof BalanceData> {
  const result = BalanceData.safeParse(data);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    ({ path, message }) => `${['detail.data', ...path].join('.')}: ${message}`,
  );
  // The same event would be as wrong tomorrow.
  throw new PermanentError(problems.join('; '));
}
