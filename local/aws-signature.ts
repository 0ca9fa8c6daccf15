import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** What a client signs with. */
export type AwsKeys = { accessKeyId: string; secretAccessKey: string };

/** Why a signature does not count: the type and the words of AWS. */
export type SignatureProblem = { type: string; message: string };

/** As in AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html */
const maxSkewMs = 5 * 60_000;
const service = 'events';
const algorithm = 'AWS4-HMAC-SHA256';

const authorizationPattern =
  /^AWS4-HMAC-SHA256\s+Credential=(?<accessKeyId>[^/\s,]+)\/(?<date>\d{8})\/(?<region>[^/\s,]+)\/(?<service>[^/\s,]+)\/aws4_request\s*,\s*SignedHeaders=(?<signedHeaders>[a-z0-9;-]+)\s*,\s*Signature=(?<signature>[0-9a-f]{64})$/u;

/**
 * Checks the signature (SigV4) of a request to `/` without a query, over the body as it came. Null when it is good.
 *
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function signatureProblem(
  { method = '', headers }: Pick<IncomingMessage, 'method' | 'headers'>,
  body: Buffer,
  { accessKeyId, secretAccessKey }: AwsKeys,
  now: Date,
): SignatureProblem | null {
  const given = authorizationPattern.exec(headers.authorization ?? '')?.groups;
  if (given === undefined) {
    return {
      type: 'IncompleteSignatureException',
      message: 'The Authorization header is not a signature (SigV4).',
    };
  }
  if (given['accessKeyId'] !== accessKeyId) {
    return {
      type: 'UnrecognizedClientException',
      message: 'The security token included in the request is invalid.',
    };
  }
  const { date = '', region = '', signature = '' } = given;
  const at = String(headers['x-amz-date'] ?? '');
  const isOfNow = Math.abs(readDate(at) - now.getTime()) <= maxSkewMs;
  if (!isOfNow || !at.startsWith(date)) {
    return invalid('Signature expired, or from the future: its time and ours differ by more than 5 minutes.');
  }
  if (given['service'] !== service)
    return invalid(`Credential should be scoped to correct service: '${service}'.`);
  const names = (given['signedHeaders'] ?? '').split(';');
  // Who could change one of those on the way could change what is done.
  const required = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = required.filter((name) => !names.includes(name));
  if (unsigned.length > 0) return invalid(`The signature does not cover the headers ${unsigned.join(', ')}.`);
  const canonical = [
    method,
    '/',
    '',
    ...names.map((name) => `${name}:${valueOf(headers[name])}`),
    '',
    names.join(';'),
    hash('sha256', body),
  ].join('\n');
  const toSign = [algorithm, at, `${date}/${region}/${service}/aws4_request`, hash('sha256', canonical)].join(
    '\n',
  );
  const key = [date, region, service, 'aws4_request'].reduce<Buffer | string>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${secretAccessKey}`,
  );
  const expected = createHmac('sha256', key).update(toSign).digest();
  return timingSafeEqual(expected, Buffer.from(signature, 'hex'))
    ? null
    : invalid(
        'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
      );
}

const invalid = (message: string): SignatureProblem => ({ type: 'InvalidSignatureException', message });

// 20261123T100000Z
function readDate(text: string): number {
  const parts = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/u.exec(text)?.slice(1).map(Number) ?? [];
  const [year = Number.NaN, month = 0, ...rest] = parts;
  return Date.UTC(year, month - 1, ...rest);
}

const valueOf = (value: string | string[] | undefined): string =>
  [value ?? ''].flat().join(',').trim().replaceAll(/ +/gu, ' ');
