import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { AuditEntry as Entry } from '../../../shared/audit/change.ts';
import { needs } from '../access.ts';
import { pageOf, pageQuery } from '../page.ts';
import { problems } from '../problem.ts';
import { answerOf } from '../schema-forms.ts';
import type { Services } from '../services.ts';

const AuditEntry = answerOf(Entry).openapi('AuditEntry');

const list = createRoute({
  method: 'get',
  path: '/v1/audit',
  operationId: 'listAudit',
  tags: ['Audit'],
  security: needs('read'),
  summary: 'Who changed what through this API, newest first',
  request: { query: z.strictObject(pageQuery) },
  responses: {
    200: {
      description: 'A page of entries; it can be short, even empty, and yet have a next one',
      content: { 'application/json': { schema: pageOf(AuditEntry) } },
    },
    ...problems(400),
  },
});

export function addAuditRoutes(app: OpenAPIHono, { audit }: Services): void {
  app.openapi(list, async (context) => {
    const { limit, cursor } = context.req.valid('query');
    const { entries: items, nextCursor } = await audit.list(limit, cursor);
    return context.json({ items, nextCursor }, 200);
  });
}
