import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { KMSClient } from '@aws-sdk/client-kms';

type KmsRequest = {
  KeyId: string;
  EncryptionContext?: Record<string, string>;
  CiphertextBlob?: string;
  KeySpec?: string;
};

/**
 * A small KMS on loopback: GenerateDataKey and Decrypt, over the wire and with real encryption. As in AWS, the
 * encryption context is bound to the ciphertext: what was encrypted with one does not decrypt with another.
 */
export async function startKms(keyArn = 'arn:aws:kms:us-east-1:000000000000:key/test') {
  const masterKey = randomBytes(32);
  const operations: string[] = [];
  const server = createServer((incoming, response) => {
    void readJson(incoming).then((request) => {
      const operation = String(incoming.headers['x-amz-target']).replace('TrentService.', '');
      operations.push(operation);
      const { status, body } = answer(operation, request);
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  function answer(operation: string, request: KmsRequest): { status: number; body: object } {
    if (request.KeyId !== keyArn) return refusal('NotFoundException');
    const context = Buffer.from(JSON.stringify(request.EncryptionContext ?? {}));
    if (operation === 'GenerateDataKey' && request.KeySpec === 'AES_256') {
      const plaintext = randomBytes(32);
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', masterKey, iv).setAAD(context);
      const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
      return {
        status: 200,
        body: {
          KeyId: keyArn,
          Plaintext: plaintext.toString('base64'),
          CiphertextBlob: Buffer.concat([iv, cipher.getAuthTag(), ciphertext]).toString('base64'),
        },
      };
    }
    if (operation !== 'Decrypt') return refusal('UnsupportedOperationException');
    const blob = Buffer.from(request.CiphertextBlob ?? '', 'base64');
    try {
      const decipher = createDecipheriv('aes-256-gcm', masterKey, blob.subarray(0, 12), { authTagLength: 16 })
        .setAAD(context)
        .setAuthTag(blob.subarray(12, 28));
      const plaintext = Buffer.concat([decipher.update(blob.subarray(28)), decipher.final()]);
      return { status: 200, body: { KeyId: keyArn, Plaintext: plaintext.toString('base64') } };
    } catch {
      return refusal('InvalidCiphertextException');
    }
  }

  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const kms = new KMSClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  });
  return {
    kms,
    keyArn,
    url,
    /** The names of the operations that were called, in order. */
    operations,
    async [Symbol.asyncDispose]() {
      kms.destroy();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const refusal = (type: string) => ({ status: 400, body: { __type: type, message: type } });

async function readJson(incoming: IncomingMessage): Promise<KmsRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as KmsRequest;
}
