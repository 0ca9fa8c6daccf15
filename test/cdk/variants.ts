/** Deploy settings that change the template, each set at least once: what holds for the stack has to hold for all of these. */
export const variants = {
  'the defaults': {},
  'another name, with a bus of another name': { stackName: 'Staging', busName: 'handoff-staging' },
  'the default bus of the account': { existingBusName: 'default', eventSources: 'billing, crm.*' },
  'some sources on a bus of our own': { eventSources: 'billing' },
  'other retention': {
    retentionDays: 400,
    heldRetentionDays: 800,
    auditRetentionDays: 1000,
    logRetentionDays: 365,
    executionsPointInTimeRecovery: true,
  },
  'more memory, other limits of concurrency': {
    dispatcherMemoryMb: 1769,
    dispatcherConcurrency: 20,
    retrierConcurrency: 10,
  },
  'more log shards': { logShards: 8 },
  'no circuit breaker': { circuitBreaker: false },
  'a longer time of failures': { autoDisableDays: 10 },
  'events at once': { batchWindowSeconds: 0 },
  'targets in a private network': { allowHttp: true, allowCidrs: '10.0.0.0/8' },
  'values that are kept encrypted': { redactPaths: 'detail.data.iban, detail.data.cards[*].number' },
  'a domain to sign in on, machine clients': {
    signInDomain: 'crm-sign-in',
    callbackUrls: 'https://crm.example/console/, http://localhost:5173/',
    machineClients: 'billing:operate, month-end:read',
  },
  'the tokens of another issuer': {
    oidcIssuer: 'https://crm.eu.auth0.com/',
    oidcAudience: 'https://handoff.crm.example',
    groupsClaim: 'https://crm.example/roles',
  },
  'alarms that somebody hears': { alarmTopicArn: 'arn:aws:sns:eu-central-1:123456789012:on-call' },
} as const satisfies Record<string, Record<string, unknown>>;
