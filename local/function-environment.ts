import { devNull } from 'node:os';
import { region } from './aws-identity.ts';

export type FunctionSettings = {
  handlersTable: string;
  executionsTable: string;
  dataKeyFile: string;
  busName: string;
  allowHttp: boolean;
  allowCidrs: string;
  redactPaths: string;
  retryScale: number;
  circuitBreaker: boolean;
  autoDisableDays: number;
  dynamoDbEndpoint: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
  /** Of EventBridge, SQS and Lambda. */
  privateEndpoint: string;
  queueUrls: { events: string; retries: string; eventsDeadLetters: string; retriesDeadLetters: string };
  scripts: readonly string[];
  scriptFunctionPrefix: string;
  maxConcurrentScripts: number;
};

/**
 * Sets in `environment` what the functions find there in AWS, and takes out all that the user's own AWS settings
 * put in: with those a function would write to a real account. Must run before a function is first called.
 */
export function setFunctionEnvironment(environment: NodeJS.ProcessEnv, settings: FunctionSettings): void {
  for (const name of Object.keys(environment)) {
    if (name.startsWith('AWS_')) delete environment[name];
  }
  Object.assign(environment, {
    HANDLERS_TABLE: settings.handlersTable,
    EXECUTIONS_TABLE: settings.executionsTable,
    DATA_KEY: `file:${settings.dataKeyFile}`,
    EVENT_BUS: settings.busName,
    EVENTS_QUEUE: settings.queueUrls.events,
    RETRIES_QUEUE: settings.queueUrls.retries,
    EVENTS_DEAD_LETTERS_QUEUE: settings.queueUrls.eventsDeadLetters,
    RETRIES_DEAD_LETTERS_QUEUE: settings.queueUrls.retriesDeadLetters,
    SCRIPTS: settings.scripts.join(','),
    SCRIPT_FUNCTION_PREFIX: settings.scriptFunctionPrefix,
    MAX_CONCURRENT_SCRIPTS: String(settings.maxConcurrentScripts),
    ALLOW_HTTP: String(settings.allowHttp),
    ALLOW_CIDRS: settings.allowCidrs,
    REDACT_PATHS: settings.redactPaths,
    RETRY_SCALE: String(settings.retryScale),
    CIRCUITS: String(settings.circuitBreaker),
    AUTO_DISABLE_DAYS: String(settings.autoDisableDays),
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: settings.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: settings.credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: settings.dynamoDbEndpoint,
    AWS_ENDPOINT_URL_EVENTBRIDGE: settings.privateEndpoint,
    AWS_ENDPOINT_URL_SQS: settings.privateEndpoint,
    AWS_ENDPOINT_URL_LAMBDA: settings.privateEndpoint,
    // ~/.aws/config can name endpoints, proxies and a retry mode too.
    AWS_CONFIG_FILE: devNull,
    AWS_SHARED_CREDENTIALS_FILE: devNull,
    AWS_EC2_METADATA_DISABLED: 'true',
    // There is no CloudWatch to read them from the log.
    POWERTOOLS_METRICS_DISABLED: 'true',
  } satisfies Record<string, string>);
}
