import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  CreateAccessKeyCommand,
  CreateUserCommand,
  IAMClient,
  PutUserPolicyCommand,
} from '@aws-sdk/client-iam';
import { AwsClient } from 'aws4fetch';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { connect, type System } from '../acceptance/system.ts';
import { clientOf } from './deployed-stack.ts';

const { region, account, endpoint, outputs } = inject('stack');
const { apiUrl, busName } = inject('system');
const apiArn = `arn:aws:execute-api:${region}:${account}:${new URL(outputs['ApiUrl'] ?? '').hostname.split('.')[0]}/*`;

let system: System;
let iam: IAMClient;
beforeAll(() => {
  system = connect();
  iam = new IAMClient(clientOf(inject('stack')));
});
afterAll(async () => {
  await system.close();
  iam.destroy();
});

type Credentials = { accessKeyId: string; secretAccessKey: string };

/** A user of the account who may do this one thing. */
async function createUser(UserName: string, action: string, resource: string): Promise<Credentials> {
  await iam.send(new CreateUserCommand({ UserName }));
  await iam.send(
    new PutUserPolicyCommand({
      UserName,
      PolicyName: 'this-one-thing',
      PolicyDocument: JSON.stringify({
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Action: action, Resource: resource }],
      }),
    }),
  );
  const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
  return { accessKeyId: AccessKey?.AccessKeyId ?? '', secretAccessKey: AccessKey?.SecretAccessKey ?? '' };
}

const listHandlers = (credentials: Credentials) =>
  new AwsClient({ ...credentials, region, service: 'execute-api', retries: 0 }).fetch(
    `${apiUrl}/v1/handlers`,
  );

const putEvent = async (credentials: Credentials): Promise<void> => {
  const client = new EventBridgeClient({ endpoint, region, credentials, maxAttempts: 1 });
  const entry = { EventBusName: busName, Source: 'e2e', DetailType: system.newType(), Detail: '{}' };
  try {
    await client.send(new PutEventsCommand({ Entries: [entry] }));
  } finally {
    client.destroy();
  }
};

describe('the API', () => {
  it('lets in who may invoke it, and nobody with another key or a wrong signature', async () => {
    const admin = await createUser('admin', 'execute-api:Invoke', apiArn);

    expect((await listHandlers(admin)).status).toBe(200);
    expect((await listHandlers({ ...admin, secretAccessKey: 'guessed' })).status).toBe(403);
    expect((await listHandlers({ ...admin, accessKeyId: 'AKIAIOSFODNN7EXAMPLE' })).status).toBe(403);
  });
});

describe('the bus', () => {
  it('takes events of who may put them there, who cannot do anything else', async () => {
    const upstream = await createUser('upstream', 'events:PutEvents', outputs['EventBusArn'] ?? '');
    const stranger = await createUser('stranger', 'sqs:ListQueues', '*');

    await putEvent(upstream);
    await expect(putEvent(stranger)).rejects.toThrow(/not authorized/u);
    expect((await listHandlers(upstream)).status).toBe(403);
  });
});
