import { parseEnv } from '../../../shared/env.ts';
import type { ScriptInvocation } from '../../../shared/scripts/invocation.ts';
import { decide, isBalanceEvent, type Decision } from './decide.ts';
import { BalanceGuardEnv } from './env.ts';
import { postDecision } from './post-decision.ts';

// Less than a handler's default limit of 30 s, so that the log says who did not answer.
const postTimeoutMs = 10_000;

type Result = { decision: Decision; posted: boolean } | { ignored: true; reason: string };

/** What follows when the balance of a client crosses zero: decided here, carried out at ENFORCEMENT_URL. */
export async function handler({ event, execution }: ScriptInvocation): Promise<Result> {
  if (!isBalanceEvent(event)) {
    return { ignored: true, reason: `${event['detail-type']} is not about a balance that crossed zero` };
  }
  const decision = decide(event);
  const { ENFORCEMENT_URL: url } = parseEnv(BalanceGuardEnv, process.env);
  if (url === undefined) return { decision, posted: false };
  await postDecision(url, decision, { idempotencyKey: execution.id, timeoutMs: postTimeoutMs });
  return { decision, posted: true };
}
