import type { Context } from 'hono';
import type { Actor } from '../../shared/audit/change.ts';
import { callerOf } from './access.ts';

/** What a request's event says about its origin. */
type Sent = Parameters<typeof callerOf>[0] & { requestContext: { http: { sourceIp: string } } };

/** Who makes a request, and from where, as the audit trail has it. */
export function actorOf(context: Context, { groupsClaim }: { groupsClaim: string }): Actor {
  const { event } = context.env as { event: Sent };
  return { name: callerOf(event, groupsClaim).name, ip: event.requestContext.http.sourceIp };
}
