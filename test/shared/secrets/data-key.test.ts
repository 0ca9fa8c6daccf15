import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DecryptCommand } from '@aws-sdk/client-kms';
import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it } from 'vitest';
import { createDataKey } from '../../../shared/secrets/data-key.ts';
import { createRecordingDynamo } from '../../support/sdk-calls.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { startKms } from '../../support/kms.ts';

async function aDeployment() {
  const db = await startTestDynamo();
  const kms = await startKms();
  return {
    ...db,
    operations: kms.operations,
    kms: kms.kms,
    environment: (mayCreate: boolean, dynamo = db.dynamo) =>
      createDataKey(kms.keyArn, { dynamo, kms: kms.kms, tableName: db.handlersTable, mayCreate }),
    async [Symbol.asyncDispose]() {
      await kms[Symbol.asyncDispose]();
      await db[Symbol.asyncDispose]();
    },
  };
}

describe('a data key in a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-data-key-'));
  afterAll(() => rm(folder, { recursive: true }));
  const unused = { dynamo: undefined, kms: undefined } as never as Pick<
    Parameters<typeof createDataKey>[1],
    'dynamo' | 'kms'
  >;
  const open = (path: string) =>
    createDataKey(`file:${path}`, { ...unused, tableName: 'unused', mayCreate: true });

  it('is the bytes of the file', async () => {
    const key = randomBytes(32);
    const path = join(folder, 'key');
    await writeFile(path, key);
    expect(await open(path)()).toEqual(key);
  });

  it('is read once', async () => {
    const path = join(folder, 'read-once');
    await writeFile(path, randomBytes(32));
    const dataKey = open(path);
    const first = await dataKey();
    await writeFile(path, randomBytes(32));
    expect(await dataKey()).toBe(first);
  });

  it.each([0, 16, 31, 33, 64])('is refused with %i bytes, naming the setting', async (bytes) => {
    const path = join(folder, `wrong-${bytes}`);
    await writeFile(path, randomBytes(bytes));
    await expect(open(path)()).rejects.toThrow(`DATA_KEY: the key has ${bytes} bytes instead of 32.`);
  });

  it('is looked for again after it was missing', async () => {
    const path = join(folder, 'late');
    const dataKey = open(path);
    await expect(dataKey()).rejects.toThrow('ENOENT');
    await writeFile(path, randomBytes(32));
    expect(await dataKey()).toHaveLength(32);
  });
});

describe('a data key wrapped by KMS', () => {
  it('is made at the first call, stored wrapped, and the same for every environment', async () => {
    await using deployment = await aDeployment();
    const key = await deployment.environment(true)();
    expect(key).toHaveLength(32);
    expect(await deployment.environment(true)()).toEqual(key);
    expect(await deployment.environment(false)()).toEqual(key);
    expect(deployment.operations.filter((name) => name === 'GenerateDataKey')).toHaveLength(1);
    const { Item = {} } = await deployment.dynamo.send(
      new GetCommand({ TableName: deployment.handlersTable, Key: { pk: 'DEPLOYMENT', sk: 'DATA_KEY' } }),
    );
    expect(Buffer.from(Item['wrapped'] as Uint8Array).includes(key)).toBe(false);
  });

  it('is unwrapped once in each environment, even by calls side by side', async () => {
    await using deployment = await aDeployment();
    await deployment.environment(true)();
    deployment.operations.length = 0;
    const dataKey = deployment.environment(false);
    await Promise.all([dataKey(), dataKey()]);
    await dataKey();
    expect(deployment.operations).toEqual(['Decrypt']);
  });

  it('is one key when two environments make it at once', async () => {
    await using deployment = await aDeployment();
    // Both have found none and made one before either is stored.
    let stores = 0;
    const bothStore = Promise.withResolvers<void>();
    using meeting = createRecordingDynamo(async ({ name }, send) => {
      if (name === 'PutItem' && ++stores === 2) bothStore.resolve();
      if (name === 'PutItem') await bothStore.promise;
      return send();
    });
    const environment = () => deployment.environment(true, meeting.dynamo)();
    const [one, other] = await Promise.all([environment(), environment()]);
    expect(deployment.operations).toEqual(['GenerateDataKey', 'GenerateDataKey', 'Decrypt', 'Decrypt']);
    expect(one).toEqual(other);
    expect(await deployment.environment(false)()).toEqual(one);
  });

  it('is not made by the dispatcher, which says what is missing', async () => {
    await using deployment = await aDeployment();
    const dataKey = deployment.environment(false);
    await expect(dataKey()).rejects.toThrow('The deployment has no data key, yet a handler has a secret.');
    expect(deployment.operations).toEqual([]);
    const made = await deployment.environment(true)();
    expect(await dataKey()).toEqual(made);
  });

  it('can be unwrapped only in the context that it was made for', async () => {
    await using deployment = await aDeployment();
    await deployment.environment(true)();
    const { Item = {} } = await deployment.dynamo.send(
      new GetCommand({ TableName: deployment.handlersTable, Key: { pk: 'DEPLOYMENT', sk: 'DATA_KEY' } }),
    );
    const decrypt = (EncryptionContext: Record<string, string>) =>
      deployment.kms.send(
        new DecryptCommand({
          KeyId: 'arn:aws:kms:us-east-1:000000000000:key/test',
          CiphertextBlob: Item['wrapped'] as Uint8Array,
          EncryptionContext,
        }),
      );
    await expect(decrypt({ purpose: 'other' })).rejects.toThrow('InvalidCiphertextException');
    await expect(decrypt({ purpose: 'handoff-data-key' })).resolves.toBeDefined();
  });

  it('fails when what is stored was changed, and is not replaced', async () => {
    await using deployment = await aDeployment();
    const Item = { pk: 'DEPLOYMENT', sk: 'DATA_KEY', wrapped: randomBytes(60) };
    await deployment.dynamo.send(new PutCommand({ TableName: deployment.handlersTable, Item }));
    await expect(deployment.environment(true)()).rejects.toThrow('InvalidCiphertextException');
    expect(deployment.operations).toEqual(['Decrypt']);
  });
});
