import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import { HttpApi, HttpStage, LogGroupLogDestination } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpJwtAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { ApiEnv } from '../../functions/api/env.ts';
import type { Config } from '../config.ts';
import { HandoffFunction } from './function.ts';
import type { Intake } from './intake.ts';
import type { Retries } from './retries.ts';
import type { Scripts } from './scripts.ts';
import type { TokenSource } from './sign-in.ts';
import type { Storage } from './storage.ts';

export type ApiProps = {
  config: Config;
  storage: Storage;
  intake: Intake;
  retries: Retries;
  scripts: Scripts;
  tokens: TokenSource;
};

// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
const accessLogFormat = AccessLogFormat.custom(
  JSON.stringify({
    requestId: '$context.requestId',
    at: '$context.requestTime',
    method: '$context.httpMethod',
    path: '$context.path',
    status: '$context.status',
    latencyMs: '$context.responseLatency',
    caller: '$context.authorizer.claims.sub',
    client: '$context.authorizer.claims.client_id',
    ip: '$context.identity.sourceIp',
    error: '$context.error.message',
    authorizerError: '$context.authorizer.error',
    integrationError: '$context.integrationErrorMessage',
  }),
);

/** The management API: an HTTP API in front of one function. Every route asks for an access token. */
export class Api extends Construct {
  readonly url: string;
  readonly httpApi: HttpApi;

  constructor(scope: Construct, id: string, { config, storage, intake, retries, scripts, tokens }: ApiProps) {
    super(scope, id);

    const { lambda } = new HandoffFunction(this, 'Manage', {
      folder: 'api',
      description: 'The management API: handlers, executions, events',
      // Reads are parsed, filtered and searched here; half the memory would double the time of a cold start.
      memoryMb: 512,
      // API Gateway gives up after 30 s and cannot be told otherwise: what our log says comes first.
      timeout: Duration.seconds(29),
      runsTransforms: true,
      logRetentionDays: config.logRetentionDays,
      env: ApiEnv,
      environment: {
        HANDLERS_TABLE: storage.handlers.readWrite,
        EXECUTIONS_TABLE: storage.log.manage,
        DATA_KEY: storage.dataKey.openOrCreate,
        EVENT_BUS: intake.publish,
        EVENTS_QUEUE: intake.send,
        RETRIES_QUEUE: retries.send,
        SCRIPTS: scripts.describeAndInvoke,
        SCRIPT_FUNCTION_PREFIX: scripts.functionPrefix,
        LOG_SHARDS: config.logShards,
        RETENTION_DAYS: config.retentionDays,
        HELD_RETENTION_DAYS: config.heldRetentionDays,
        AUDIT_RETENTION_DAYS: config.auditRetentionDays,
        ALLOW_HTTP: config.allowHttp,
        ALLOW_CIDRS: config.allowCidrs.join(','),
        GROUPS_CLAIM: config.groupsClaim,
      },
    });

    this.httpApi = new HttpApi(this, 'HttpApi', {
      // Need not be unique, but whoever has two deployments sees two APIs in the console.
      apiName: Stack.of(this).stackName,
      description: 'The management API of Handoff',
      // One route for everything, so that no path can be forgotten: the function's router knows the rest.
      defaultIntegration: new HttpLambdaIntegration('Integration', lambda),
      defaultAuthorizer: new HttpJwtAuthorizer('Tokens', tokens.issuer, { jwtAudience: tokens.audience }),
      createDefaultStage: false,
    });
    const accessLog = new LogGroup(this, 'AccessLog', {
      retention: config.logRetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const stage = new HttpStage(this, 'Stage', {
      httpApi: this.httpApi,
      stageName: '$default',
      autoDeploy: true,
      // Far above what people and their scripts need, and low enough that a loop of theirs stays cheap.
      throttle: { rateLimit: 50, burstLimit: 100 },
      accessLogSettings: { destination: new LogGroupLogDestination(accessLog), format: accessLogFormat },
    });
    this.url = stage.url;
  }
}
