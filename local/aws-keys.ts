import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { AwsKeys } from './aws-signature.ts';
import { keptSecret } from './kept-secret.ts';
import { StartError } from './start-error.ts';

/** In the data folder, in the format of AWS: name it in `AWS_SHARED_CREDENTIALS_FILE` of a client. */
export const awsKeysFile = 'aws-credentials';

function newKeys(): AwsKeys {
  return {
    // As long as those of AWS, and not to be taken for one.
    accessKeyId: `HANDOFF${randomBytes(8).toString('hex').toUpperCase().slice(0, 13)}`,
    secretAccessKey: randomBytes(30).toString('base64url'),
  };
}

const toText = ({ accessKeyId, secretAccessKey }: AwsKeys): string =>
  `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;

/**
 * The keys that upstreams sign with: made at the first start and kept in `<folder>/aws-credentials`, or made anew when nothing is kept
 * (`folder` is null).
 */
export async function madeAwsKeys(folder: string | null): Promise<AwsKeys> {
  if (folder === null) return newKeys();
  const file = join(folder, awsKeysFile);
  const text = (await keptSecret(file, () => Buffer.from(toText(newKeys())))).toString();
  const read = (name: string) =>
    new RegExp(`^${name} *= *(?<value>\\S+) *$`, 'mu').exec(text)?.groups?.['value'];
  const [accessKeyId, secretAccessKey] = [read('aws_access_key_id'), read('aws_secret_access_key')];
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new StartError(`${file} does not hold a pair of keys: delete it to have new ones made.`);
  }
  return { accessKeyId, secretAccessKey };
}
