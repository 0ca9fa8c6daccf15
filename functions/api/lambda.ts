import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { handle, type LambdaEvent } from 'hono/aws-lambda';
import { parseEnv } from '../../shared/env.ts';
import { ApiEnv } from './env.ts';
import { createRouter } from './router.ts';
import { buildServices } from './services.ts';

let serve: ReturnType<typeof handle> | undefined;

/** Called by API Gateway for every request that its authorizer let through. */
export async function handler(event: LambdaEvent): Promise<APIGatewayProxyStructuredResultV2> {
  serve ??= handle(createRouter(buildServices(parseEnv(ApiEnv, process.env))));
  return (await serve(event)) as APIGatewayProxyStructuredResultV2;
}
