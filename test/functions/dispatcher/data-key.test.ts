import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { newSigningSecret } from '../../../shared/delivery/signature.ts';
import { createDataKey } from '../../../shared/secrets/data-key.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { sealSecret } from '../../../shared/secrets/secret-envelope.ts';
import { aHandler, anEvent } from '../../support/builders.ts';
import { startReceiver, type ReceivedRequest } from '../../support/http-server.ts';
import { startKms } from '../../support/kms.ts';
import { aMessage, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
let kms: Awaited<ReturnType<typeof startKms>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
  kms = await startKms();
});
beforeEach(() => {
  vi.stubEnv('AWS_ENDPOINT_URL_KMS', kms.url);
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-23T10:00:00Z') });
});
afterEach(async () => {
  vi.useRealTimers();
  kms.operations.length = 0;
  await dispatcher.clear();
});
afterAll(async () => {
  await dispatcher[Symbol.asyncDispose]();
  await kms[Symbol.asyncDispose]();
});

/** Makes the data key as the API does, and forgets that KMS was called for it. */
async function createKey(): Promise<Buffer> {
  const key = await createDataKey(kms.keyArn, {
    dynamo: dispatcher.dynamo,
    kms: kms.kms,
    tableName: dispatcher.handlersTable,
    mayCreate: true,
  })();
  kms.operations.length = 0;
  return key;
}

/** Stores a handler with a secret of its own; another version of one replaces it, secret and all. */
async function save(key: Buffer, handler: Handler): Promise<string> {
  const secret = newSigningSecret();
  const stored = { handler, sealedSecrets: [sealSecret(key, handler.id, secret)] };
  if (handler.version === 1) await dispatcher.store.create(stored);
  else await dispatcher.store.replace(stored, handler.version - 1);
  return secret;
}

const coldStart = () => dispatcher.coldStart({ DATA_KEY: kms.keyArn, REDACT_PATHS: 'detail.data.iban' });

const someMessages = (count: number) =>
  Array.from({ length: count }, () =>
    aMessage({
      body: anEvent({
        time: new Date().toISOString(),
        detail: { data: { iban: 'DE02 1203 0000 0000 2020 51' } },
      }),
      sentAt: new Date(),
    }),
  );

const verify = (secret: string, { body, headers }: ReceivedRequest): unknown =>
  new Webhook(secret).verify(body, headers as Record<string, string>);

describe('the data key in the dispatcher', () => {
  it('costs one call of KMS for an environment, however many batches come and handlers are edited', async () => {
    await using receiver = await startReceiver();
    const key = await createKey();
    const edited = aHandler({ target: { url: `${receiver.url}/edited` } });
    let secretOfEdited = await save(key, edited);
    const secretOfSteady = await save(key, aHandler({ target: { url: `${receiver.url}/steady` } }));

    const services = coldStart();
    for (let batch = 0; batch < 12; batch++) {
      const report = await dispatcher.dispatch(someMessages(5), { services });
      expect(report).toMatchObject({ failedMessageIds: [], problems: [], executions: { succeeded: 10 } });
      for (const request of receiver.requests.splice(0)) {
        verify(request.path === '/edited' ? secretOfEdited : secretOfSteady, request);
      }
      const edit = { name: `After batch ${batch}`, version: edited.version + batch + 1 };
      secretOfEdited = await save(key, { ...edited, ...edit });
      // Each is looked at anew after a second; after a minute everything is.
      vi.setSystemTime(Date.now() + (batch % 3 === 0 ? 61_000 : 1_000));
    }
    expect(kms.operations).toEqual(['Decrypt']);

    const other = coldStart();
    await dispatcher.dispatch(someMessages(5), { services: other });
    await dispatcher.dispatch(someMessages(5), { services: other });
    expect(kms.operations).toEqual(['Decrypt', 'Decrypt']);
  });

  it('opens no envelope that was made for another handler: nothing is sent with a secret that is not its own', async () => {
    await using receiver = await startReceiver();
    const key = await createKey();
    const robbed = aHandler({ target: { url: `${receiver.url}/robbed` } });
    const thief = aHandler({ target: { url: `${receiver.url}/thief` } });
    const secret = await save(key, robbed);
    await save(key, thief);
    // What somebody could do who may write to the table, and has not the key.
    await dispatcher.dynamo.send(
      new UpdateCommand({
        TableName: dispatcher.handlersTable,
        Key: { pk: 'HANDLER', sk: thief.id },
        UpdateExpression: 'SET sealedSecrets = :copied',
        ExpressionAttributeValues: {
          ':copied': (await dispatcher.store.get(robbed.id)).sealedSecrets,
        },
      }),
    );

    const report = await dispatcher.dispatch(someMessages(1), { services: coldStart() });
    expect(report).toMatchObject({ failedMessageIds: [], executions: { succeeded: 1, waiting: 1 } });
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/robbed']);
    for (const request of receiver.requests) verify(secret, request);
    const [execution] = await dispatcher.logOf(thief);
    expect(execution?.attempts[0]?.error).toContain(`A secret of handler ${thief.id} cannot be opened`);
  });
});
