import { isRetryableStatus } from '../../../shared/delivery/outcome.ts';
import { PermanentError } from '../../../shared/scripts/invocation.ts';
import type { Decision } from './decide.ts';

/**
 * Throws when the decision was not taken: an Error when a later attempt can go well, a PermanentError when none can.
 *
 * @param idempotencyKey the same on every attempt, so that the other side carries a decision out once
 */
export async function postDecision(
  url: string,
  decision: Decision,
  { idempotencyKey, timeoutMs }: { idempotencyKey: string; timeoutMs: number },
): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
    body: JSON.stringify(decision),
    // A POST that is redirected may arrive as a GET without its body.
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error: Error) => {
    // Of a broken connection fetch says no more than "fetch failed"; the cause has ECONNREFUSED and the like.
    const reason = (error.cause as NodeJS.ErrnoException | undefined)?.code ?? error.message;
    throw new Error(`ENFORCEMENT_URL gave no answer: ${reason}`, { cause: error });
  });
  await response.body?.cancel();
  if (response.ok) return;
  const problem = `ENFORCEMENT_URL answered ${response.status}`;
  throw isRetryableStatus(response.status) ? new Error(problem) : new PermanentError(problem);
}
