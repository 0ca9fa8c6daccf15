import type { Context } from 'hono';
import type { Actor } from '../../shared/audit/change.ts';

/** What a request's event says about its origin. */
type Sent = { requestContext: { http: { sourceIp: string } } };

/** Who makes a request that was let through (`checkRole`), and from where, as the audit trail has it. */
export function actorOf(context: Context): Actor {
  const { event } = context.env as { event: Sent };
  return { name: context.get('caller').name, ip: event.requestContext.http.sourceIp };
}
