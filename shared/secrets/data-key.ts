import { readFile } from 'node:fs/promises';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { DecryptCommand, GenerateDataKeyCommand, type KMSClient } from '@aws-sdk/client-kms';
import { GetCommand, PutCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';

const keyBytes = 32;
const itemKey = { pk: 'DEPLOYMENT', sk: 'DATA_KEY' };
// Shows in CloudTrail, and the key's grants are limited to it.
const encryptionContext = { purpose: 'handoff-data-key' };

/** Gives the deployment's data key, 32 bytes; loaded at the first call and kept for the environment's life. */
export type DataKey = () => Promise<Buffer>;

/**
 * The key that encrypts the secrets of handlers. On one machine it is a file; in AWS it lies wrapped by a KMS
 * key in the handlers table, so a steady environment calls KMS once.
 *
 * @param source the setting DATA_KEY: `file:<path>` or the ARN of a KMS key
 * @param mayCreate whether to make the key when there is none: true for the API, which stores the first secret
 */
export function createDataKey(
  source: string,
  {
    dynamo,
    kms,
    tableName,
    mayCreate,
  }: {
    dynamo: DynamoDBDocumentClient;
    kms: KMSClient;
    tableName: string;
    mayCreate: boolean;
  },
): DataKey {
  let loaded: Promise<Buffer> | undefined;
  return () => {
    loaded ??= load().catch((error: unknown) => {
      loaded = undefined; // The next call tries again.
      throw error;
    });
    return loaded;
  };

  async function load(): Promise<Buffer> {
    const key = source.startsWith('file:') ? await readFile(source.slice('file:'.length)) : await unwrap();
    if (key.length !== keyBytes)
      throw new Error(`DATA_KEY: the key has ${key.length} bytes instead of ${keyBytes}.`);
    return key;
  }

  async function unwrap(): Promise<Buffer> {
    const wrapped = (await readWrapped()) ?? (mayCreate ? await createWrapped() : undefined);
    if (wrapped === undefined) throw new Error('The deployment has no data key, yet a handler has a secret.');
    const { Plaintext } = await kms.send(
      new DecryptCommand({ KeyId: source, CiphertextBlob: wrapped, EncryptionContext: encryptionContext }),
    );
    return Buffer.from(Plaintext ?? []);
  }

  async function readWrapped(): Promise<Uint8Array | undefined> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: itemKey, ConsistentRead: true }),
    );
    return Item?.['wrapped'] as Uint8Array | undefined;
  }

  async function createWrapped(): Promise<Uint8Array | undefined> {
    const { CiphertextBlob } = await kms.send(
      new GenerateDataKeyCommand({ KeyId: source, KeySpec: 'AES_256', EncryptionContext: encryptionContext }),
    );
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: { ...itemKey, wrapped: CiphertextBlob },
          ConditionExpression: 'attribute_not_exists(pk)',
        }),
      );
      return CiphertextBlob;
    } catch (error) {
      // Another environment was first: its key counts.
      if (error instanceof ConditionalCheckFailedException) return readWrapped();
      throw error;
    }
  }
}
