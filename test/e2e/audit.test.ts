import {
  BatchWriteItemCommand,
  ConditionalCheckFailedException,
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { IAMClient, paginateListRoles } from '@aws-sdk/client-iam';
import { AwsClient } from 'aws4fetch';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { connect, type System } from '../acceptance/system.ts';
import { clientOf } from './deployed-stack.ts';
import { trialSession } from './policies.ts';

const stack = inject('stack');
const { endpoint, region, account, credentials, outputs } = stack;
const TableName = outputs['HandlersTableName'] ?? '';
const functions = ['DispatcherDispatch', 'RetriesRetry', 'RetriesSweep', 'ApiManage'] as const;

let system: System;
/** The root of the account. */
let root: DynamoDBClient;
let roleNames: string[];
/** The entry of a change that was made. */
let entry: { pk: { S: string }; sk: { S: string } };
beforeAll(async () => {
  system = connect();
  root = new DynamoDBClient(clientOf(stack));
  const iam = new IAMClient(clientOf(stack));
  roleNames = [];
  for await (const { Roles = [] } of paginateListRoles({ client: iam }, {})) {
    roleNames.push(...Roles.map(({ RoleName = '' }) => RoleName));
  }
  iam.destroy();
  const { id: handlerId } = await system.createHandler({
    events: [system.newType()],
    url: 'https://crm.example/',
  });
  const { items } = await system.api.get<{ items: { id: string; subject: string }[] }>('/v1/audit');
  const { id = '' } = items.find(({ subject }) => subject === handlerId) ?? {};
  entry = { pk: { S: `AUDIT#${id.slice(0, 7)}` }, sk: { S: id } };
});
afterAll(async () => {
  await system.close();
  root.destroy();
});

/** Tries calls with the credentials of a function, as its code has them. */
async function as<Result>(
  name: string,
  attempt: (dynamo: DynamoDBClient) => Promise<Result>,
): Promise<Result> {
  const roleName = roleNames.find((one) => one.startsWith(`Handoff-${name}Role`));
  const sts = new AwsClient({ ...credentials, region, service: 'sts', retries: 0 });
  const answer = await sts.fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      Action: 'AssumeRole',
      Version: '2011-06-15',
      RoleArn: `arn:aws:iam::${account}:role/${roleName}`,
      RoleSessionName: trialSession,
    }).toString(),
  });
  const text = await answer.text();
  const valueOf = (tag: string): string => new RegExp(`<${tag}>(.+?)</${tag}>`, 'u').exec(text)?.[1] ?? '';
  const session = {
    accessKeyId: valueOf('AccessKeyId'),
    secretAccessKey: valueOf('SecretAccessKey'),
    sessionToken: valueOf('SessionToken'),
  };
  const dynamo = new DynamoDBClient({ ...clientOf({ ...stack, credentials: session }), maxAttempts: 1 });
  try {
    return await attempt(dynamo);
  } finally {
    dynamo.destroy();
  }
}

/** A row that no condition finds: the policies have been asked by then, and the table is as it was. */
const nowhere = { pk: { S: 'HANDLER' }, sk: { S: 'h_none' } };
const isThere = { ConditionExpression: 'attribute_exists(pk)' };
const change = (Key: typeof entry) => ({
  TableName,
  Key,
  ...isThere,
  UpdateExpression: 'SET #by = :by',
  ExpressionAttributeNames: { '#by': 'by' },
  ExpressionAttributeValues: { ':by': { S: 'nobody' } },
});
const update = (Key: typeof entry) => new UpdateItemCommand(change(Key));
const remove = (Key: typeof entry) => new DeleteItemCommand({ TableName, Key, ...isThere });
const inBulk = (dynamo: DynamoDBClient, Key: typeof entry) => [
  ...[{ PutRequest: { Item: Key } }, { DeleteRequest: { Key } }].map((one) =>
    dynamo.send(new BatchWriteItemCommand({ RequestItems: { [TableName]: [one] } })),
  ),
  ...[{ Update: change(Key) }, { Delete: { TableName, Key } }].map((one) =>
    dynamo.send(new TransactWriteItemsCommand({ TransactItems: [one] })),
  ),
];

const read = async () => (await root.send(new GetItemCommand({ TableName, Key: entry }))).Item;

describe('the audit trail', () => {
  it('has the entry that the rest is about', async () => {
    expect(await read()).toMatchObject({ action: { S: 'handler.create' } });
  });

  it.each(functions)('is changed by no function, though it may change other rows: %s', async (name) => {
    const before = await read();
    await as(name, async (dynamo) => {
      const changed = [dynamo.send(update(entry)), ...inBulk(dynamo, entry)];
      await Promise.all(changed.map((one) => expect(one).rejects.toThrow(/explicit deny/u)));
      await expect(dynamo.send(update(nowhere))).rejects.toThrow(ConditionalCheckFailedException);
    });
    expect(await read()).toEqual(before);
  });

  it.each(functions)(
    'loses nothing by a function, though the sweeper may delete other rows: %s',
    async (name) => {
      await as(name, async (dynamo) => {
        await expect(dynamo.send(remove(entry))).rejects.toThrow(/explicit deny/u);
        const other = expect(dynamo.send(remove(nowhere))).rejects;
        if (name === 'RetriesSweep') await other.toThrow(ConditionalCheckFailedException);
        else await other.toThrow(/not authorized/u);
      });
      expect(await read()).toBeDefined();
    },
  );

  it('takes new rows from the API alone', async () => {
    const Item = { ...entry, sk: { S: `${entry.sk.S}#NONE` } };
    const add = new PutItemCommand({ TableName, Item, ...isThere });
    for (const name of functions) {
      const added = expect(as(name, (dynamo) => dynamo.send(add))).rejects;
      if (name === 'ApiManage') await added.toThrow(ConditionalCheckFailedException);
      else await added.toThrow(/not authorized/u);
    }
  });
});
