import { describe, expect, it } from 'vitest';
import { Config, parseConfig } from '../../cdk/config.ts';

const problemOf = (context: Record<string, unknown>): string => {
  try {
    parseConfig(context);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('was accepted');
};

describe('parseConfig', () => {
  it('has a default for everything', () => {
    expect(parseConfig({})).toEqual({
      stackName: 'Handoff',
      busName: 'handoff',
      existingBusName: null,
      eventSources: [],
      batchWindowSeconds: 1,
      dispatcherMemoryMb: 512,
      dispatcherConcurrency: null,
      retrierConcurrency: 100,
      logShards: 1,
      retentionDays: 30,
      heldRetentionDays: 90,
      auditRetentionDays: 365,
      logRetentionDays: 30,
      executionsPointInTimeRecovery: false,
      circuitBreaker: true,
      autoDisableDays: 5,
      allowHttp: false,
      allowCidrs: [],
      redactPaths: [],
      signInDomain: null,
      callbackUrls: [],
      machineClients: [],
      oidcIssuer: null,
      oidcAudience: [],
      groupsClaim: 'cognito:groups',
      alarmTopicArn: null,
    });
  });

  it.each(Object.entries(Config.shape))('has a sentence for %s', (_name, schema) => {
    expect(schema.description?.length).toBeGreaterThan(20);
  });

  it('reads text, as -c hands it over, like the numbers and booleans of cdk.json', () => {
    expect(parseConfig({ batchWindowSeconds: '5', allowHttp: 'true', dispatcherConcurrency: '9' })).toEqual(
      parseConfig({ batchWindowSeconds: 5, allowHttp: true, dispatcherConcurrency: 9 }),
    );
  });

  it('takes null for "not set"', () => {
    expect(parseConfig({ dispatcherConcurrency: null, busName: null })).toEqual(parseConfig({}));
  });

  it('leaves CDK’s own context alone', () => {
    const context = { 'aws:cdk:enable-path-metadata': true, '@aws-cdk/core:x': true, 'vpc:account=1': {} };
    expect(parseConfig(context)).toEqual(parseConfig({}));
  });

  it.each([
    ['cli-telemetry', false],
    ['acknowledged-issue-numbers', [34_892]],
  ])('leaves %s alone, which the cdk command itself writes', (name, value) => {
    expect(parseConfig({ [name]: value })).toEqual(parseConfig({}));
  });

  it.each([
    ['stackName', '1st'],
    ['stackName', 'a'.repeat(101)],
    ['busName', 'default'],
    ['busName', 'a bus'],
    ['existingBusName', 'arn:aws:events:eu-central-1:123456789012:event-bus/company'],
    ['existingBusName', 'b'.repeat(257)],
    ['eventSources', '*'],
    ['eventSources', 'crm.*.eu'],
    ['eventSources', 'crm**'],
    ['eventSources', 'billing, crm\n.eu'],
    ['eventSources', 's'.repeat(257)],
    ['batchWindowSeconds', 301],
    ['batchWindowSeconds', -1],
    ['batchWindowSeconds', 1.5],
    ['batchWindowSeconds', ''],
    ['dispatcherMemoryMb', 127],
    ['dispatcherMemoryMb', 10_241],
    ['dispatcherConcurrency', 1],
    ['dispatcherConcurrency', 1001],
    ['retrierConcurrency', 1],
    ['retrierConcurrency', 'none'],
    ['logShards', 0],
    ['logShards', 65],
    ['retentionDays', 0],
    ['retentionDays', 'for ever'],
    ['heldRetentionDays', 3651],
    ['auditRetentionDays', 0],
    ['logRetentionDays', 31],
    ['logRetentionDays', 9999],
    ['executionsPointInTimeRecovery', 'maybe'],
    ['circuitBreaker', 'half'],
    ['autoDisableDays', '400'],
    ['allowHttp', 'perhaps'],
    ['allowCidrs', '10.0.0.0'],
    ['redactPaths', 'data.iban'],
    ['allowCidrs', '10.0.0.0/8,localhost/8'],
    ['allowCidrs', '10.0.0.0/33'],
    ['allowCidrs', '::ffff:10.0.0.0/104'],
    ['allowCidrs', 'fe80::1%eth0/64'],
    ['signInDomain', 'Crm'],
    ['signInDomain', '-crm'],
    ['signInDomain', 'c'.repeat(64)],
    ['signInDomain', 'crm-on-aws'],
    ['callbackUrls', 'http://crm.example/'],
    ['callbackUrls', 'https://crm.example/#top'],
    ['callbackUrls', 'crm.example'],
    ['callbackUrls', 'https://crm.example/, javascript:alert(1)'],
    ['machineClients', 'billing'],
    ['machineClients', 'billing:'],
    ['machineClients', ':read'],
    ['machineClients', 'billing:owner'],
    ['machineClients', 'the billing:read'],
    ['machineClients', 'billing:read,billing:admin'],
    ['machineClients', Array.from({ length: 50 }, (_, n) => `c${n}:read`).join(',')],
    ['oidcIssuer', 'crm.example'],
    ['oidcIssuer', 'http://crm.example'],
    ['oidcIssuer', 'https://crm.example/?tenant=1'],
    ['oidcIssuer', 'https://ada@crm.example/'],
    ['oidcAudience', Array.from({ length: 51 }, (_, n) => `a${n}`).join(',')],
    ['groupsClaim', ''],
    ['groupsClaim', 'scope'],
    ['groupsClaim', 'scp'],
    ['alarmTopicArn', 'on-call'],
    ['retentionDays', [30]],
    ['busName', { name: 'handoff' }],
  ])('refuses %s = %j and names it', (name, value) => {
    const problem = problemOf({ [name]: value });
    expect(problem).toMatch(/^The deploy settings cannot be used\. /u);
    expect(problem).toContain(`${name} `);
  });

  it('takes the sources apart', () => {
    const { eventSources } = parseConfig({ eventSources: ' billing,crm.*, My App,,' });
    expect(eventSources).toEqual(['billing', 'crm.*', 'My App']);
  });

  it('takes the default bus for an existing one', () => {
    expect(parseConfig({ existingBusName: 'default', eventSources: 'billing' })).toMatchObject({
      existingBusName: 'default',
      eventSources: ['billing'],
    });
  });

  it.each([[null], [''], [' ,']])(
    'refuses an existing bus with eventSources = %j: others put events on it too',
    (eventSources) => {
      const problem = problemOf({ existingBusName: 'default', eventSources });
      expect(problem).toBe(
        'The deploy settings cannot be used. existingBusName needs eventSources: others put events on that bus too, so say whose are taken.',
      );
    },
  );

  it('refuses a bus to be made and an existing one at once, even where the former has its default name', () => {
    expect(problemOf({ busName: 'handoff', existingBusName: 'default', eventSources: 'billing' })).toMatch(
      / busName is for a bus that is made, existingBusName for one that is there/u,
    );
  });

  it('takes machine clients apart', () => {
    expect(parseConfig({ machineClients: ' billing:operate,month-end : read,' }).machineClients).toEqual([
      { name: 'billing', role: 'operate' },
      { name: 'month-end', role: 'read' },
    ]);
  });

  it('names every machine client that it cannot use', () => {
    const problem = problemOf({ machineClients: 'billing:owner,reports,ops:admin' });
    expect(problem).toContain('"billing:owner" must be a name');
    expect(problem).toContain('"reports" must be a name');
    expect(problem).not.toContain('"ops:admin" must be');
  });

  const issuer = { oidcIssuer: 'https://crm.eu.auth0.com/', oidcAudience: 'handoff' };

  it('takes another issuer, as it is written, with its audience', () => {
    expect(parseConfig({ ...issuer, groupsClaim: 'permissions' })).toMatchObject({
      oidcIssuer: 'https://crm.eu.auth0.com/',
      oidcAudience: ['handoff'],
      groupsClaim: 'permissions',
    });
  });

  it.each([
    [{ oidcIssuer: issuer.oidcIssuer }, 'oidcIssuer needs oidcAudience'],
    [{ ...issuer, oidcAudience: ' ,' }, 'oidcIssuer needs oidcAudience'],
    [{ oidcAudience: 'handoff' }, 'oidcAudience is for the tokens of another issuer, so it needs oidcIssuer'],
    [{ groupsClaim: 'roles' }, 'groupsClaim is for the tokens of another issuer, so it needs oidcIssuer'],
    [{ ...issuer, signInDomain: 'crm' }, 'signInDomain is for the user pool'],
    [{ ...issuer, callbackUrls: 'https://crm.example/' }, 'callbackUrls is for the user pool'],
    [{ ...issuer, machineClients: 'billing:read' }, 'machineClients is for the user pool'],
  ])('refuses %j, which does not go together', (settings, sentence) => {
    expect(problemOf(settings)).toContain(`The deploy settings cannot be used. ${sentence}`);
  });

  it('refuses what is no setting, and says which there are', () => {
    const problem = problemOf({ batchWindow: 5 });
    expect(problem).toContain('batchWindow is not a deploy setting');
    for (const name of Object.keys(Config.shape)) expect(problem).toContain(name);
  });

  it('names everything that is wrong at once', () => {
    const problem = problemOf({ batchWindowSeconds: 999, logShards: 0, typo: 1 });
    for (const name of ['batchWindowSeconds', 'logShards', 'typo']) expect(problem).toContain(name);
  });
});
