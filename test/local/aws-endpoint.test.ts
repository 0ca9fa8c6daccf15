import {
  DescribeEventBusCommand,
  EventBridgeClient,
  PutEventsCommand,
  type PutEventsRequestEntry,
} from '@aws-sdk/client-eventbridge';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAwsEndpoint, type AwsEndpointOptions } from '../../local/aws-endpoint.ts';
import { openQueues, type Queue, type Queues } from '../../local/queue.ts';
import { type ListeningServer, listen } from '../../local/server.ts';
import { parseEvent } from '../../shared/events/envelope.ts';
import { log } from '../../shared/log.ts';

const receivedAt = new Date('2026-11-23T10:00:00.999Z');
const maxEntriesBytes = 1_048_576;

let queues: Queues;
let queue: Queue;
let server: ListeningServer;
let url: string;
let client: EventBridgeClient;

async function start({
  keys = null,
  now = () => receivedAt,
}: Partial<Pick<AwsEndpointOptions, 'keys' | 'now'>> = {}): Promise<void> {
  queues = openQueues({ file: ':memory:' });
  queue = queues.open('events', { visibilityTimeoutMs: 60_000 });
  const endpoint = createAwsEndpoint({ queue, keys, now });
  server = await listen('127.0.0.1', 0, endpoint);
  url = `http://127.0.0.1:${server.port}/`;
  client = new EventBridgeClient({
    endpoint: url,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
    maxAttempts: 1,
  });
}

async function stop(): Promise<void> {
  client.destroy();
  await server.close(0);
  queues.close();
}

beforeEach(() => start());
afterEach(stop);

const entry = (changes: PutEventsRequestEntry = {}): PutEventsRequestEntry => ({
  Source: 'billing',
  DetailType: 'client.create',
  Detail: '{"objectId":12,"data":{}}',
  EventBusName: 'handoff',
  ...changes,
});

const put = (...Entries: PutEventsRequestEntry[]) => client.send(new PutEventsCommand({ Entries }));
const bodies = (): string[] => queue.receive(100).map(({ body }) => body);

/** A call of the wire protocol, for what the SDK does not let through. */
function post(body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': 'AWSEvents.PutEvents',
      authorization: 'AWS4-HMAC-SHA256 Credential=any/20261123/eu-central-1/events/aws4_request, Signature=0',
      ...headers,
    },
  });
}
const putRaw = (...entries: unknown[]): Promise<Response> => post(JSON.stringify({ Entries: entries }));

describe('PutEvents', () => {
  it('makes an EventBridge event of an entry and has it in the queue when it answers', async () => {
    const { Entries, FailedEntryCount } = await put(
      entry({ Time: new Date('2026-11-01T08:09:10.750Z'), Resources: ['arn:a', 'arn:b'] }),
    );

    expect(FailedEntryCount).toBe(0);
    const [body = ''] = bodies();
    expect(JSON.parse(body)).toEqual({
      version: '0',
      id: Entries?.[0]?.EventId,
      'detail-type': 'client.create',
      source: 'billing',
      account: '000000000000',
      time: '2026-11-01T08:09:10Z',
      region: 'us-east-1',
      resources: ['arn:a', 'arn:b'],
      detail: { objectId: 12, data: {} },
    });
    expect(parseEvent(body).ok).toBe(true);
  });

  it('takes the time of its receipt where the entry has none', async () => {
    await put(entry());
    expect(bodies()[0]).toContain('"time":"2026-11-23T10:00:00Z"');
  });

  it('takes an ISO 8601 time too', async () => {
    await putRaw(entry({ Time: '2026-11-01T09:00:00+01:00' as unknown as Date }));
    expect(bodies()[0]).toContain('"time":"2026-11-01T08:00:00Z"');
  });

  it('passes the text of Detail on as it came', async () => {
    const detail =
      ' {"objectId": 12345678901234567890, "a": 1.0, "a": 1e400, "text": "é\\u00e9\\ud83d\\ude00"}\n';
    await put(entry({ Detail: detail }));
    expect(bodies()[0]).toContain(`"detail":${detail}}`);
  });

  it('quotes what needs it in the other fields', async () => {
    await put(entry({ Source: 'a"b\\', DetailType: 'é\n' }));
    expect(JSON.parse(bodies()[0] ?? '')).toMatchObject({ source: 'a"b\\', 'detail-type': 'é\n' });
  });

  it('takes ten entries, and the ARN of the bus', async () => {
    const arn = 'arn:aws:events:eu-central-1:123456789012:event-bus/handoff';
    const { Entries } = await put(...Array.from({ length: 10 }, () => entry({ EventBusName: arn })));
    expect(new Set(Entries?.map(({ EventId }) => EventId)).size).toBe(10);
    expect(bodies()).toHaveLength(10);
  });

  it('stores the good entries of a call and says in the same order which are not', async () => {
    const { Entries, FailedEntryCount } = await put(
      entry({ DetailType: 'first' }),
      entry({ Detail: 'oops' }),
      entry({ DetailType: 'third' }),
    );
    expect(FailedEntryCount).toBe(1);
    expect(Entries?.map(({ ErrorCode }) => ErrorCode)).toEqual([undefined, 'MalformedDetail', undefined]);
    expect(Entries?.[1]).not.toHaveProperty('EventId');
    expect(bodies().map((body) => (JSON.parse(body) as { id: string }).id)).toEqual([
      Entries?.[0]?.EventId,
      Entries?.[2]?.EventId,
    ]);
  });

  const required = (name: string) =>
    `Parameter ${name} is not valid. Reason: ${name} is a required argument.`;
  it.each<[string, PutEventsRequestEntry, string, string]>([
    ['no Source', { Source: undefined }, 'InvalidArgument', required('Source')],
    ['an empty Source', { Source: '' }, 'InvalidArgument', required('Source')],
    ['no DetailType', { DetailType: undefined }, 'InvalidArgument', required('DetailType')],
    ['an empty DetailType', { DetailType: '' }, 'InvalidArgument', required('DetailType')],
    ['no Detail', { Detail: undefined }, 'InvalidArgument', required('Detail')],
    ['an empty Detail', { Detail: '' }, 'InvalidArgument', required('Detail')],
    ['a list as Detail', { Detail: '[]' }, 'MalformedDetail', 'Detail is malformed.'],
    ['null as Detail', { Detail: 'null' }, 'MalformedDetail', 'Detail is malformed.'],
    ['a text as Detail', { Detail: '"{}"' }, 'MalformedDetail', 'Detail is malformed.'],
    ['more after Detail', { Detail: '{}},"id":{}' }, 'MalformedDetail', 'Detail is malformed.'],
    ['half a surrogate pair', { Detail: '{"a":"\ud800"}' }, 'MalformedDetail', 'Detail is malformed.'],
    [
      "AWS's own Source",
      { Source: 'aws.ec2' },
      'NotAuthorizedForSourceException',
      'Not authorized for the source.',
    ],
    [
      'a long Source',
      { Source: 'x'.repeat(257) },
      'InvalidArgument',
      'Parameter Source is not valid. Reason: Source is longer than 256 characters.',
    ],
    [
      'a long DetailType',
      { DetailType: 'x'.repeat(129) },
      'InvalidArgument',
      'Parameter DetailType is not valid. Reason: DetailType is longer than 128 characters.',
    ],
    [
      'a Time beyond the year 9999',
      { Time: new Date(8.64e15) },
      'InvalidArgument',
      'Parameter Time is not valid. Reason: Time is out of range.',
    ],
  ])('refuses an entry with %s', async (_, changes, ErrorCode, ErrorMessage) => {
    const answer = await putRaw({ ...entry(changes), Time: changes.Time && changes.Time.getTime() / 1000 });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ FailedEntryCount: 1, Entries: [{ ErrorCode, ErrorMessage }] });
    expect(bodies()).toEqual([]);
  });

  it.each([
    undefined,
    '',
    'default',
    'Handoff',
    'nothandoff',
    'arn:aws:events:eu-central-1:1:event-bus/other',
  ])('refuses an entry for the bus %s and names its own', async (EventBusName) => {
    const { Entries } = await put(entry({ EventBusName }));
    expect(Entries).toEqual([
      {
        ErrorCode: 'InvalidArgument',
        ErrorMessage: 'Parameter EventBusName is not valid. Reason: the only event bus here is "handoff".',
      },
    ]);
  });

  it('takes 256 characters of Source and 128 of DetailType', async () => {
    const { FailedEntryCount } = await put(entry({ Source: 'x'.repeat(256), DetailType: 'x'.repeat(128) }));
    expect(FailedEntryCount).toBe(0);
  });

  it('refuses no entries, and more than ten', async () => {
    await expect(put()).rejects.toMatchObject({
      name: 'ValidationException',
      message: expect.stringContaining('Member must have length greater than or equal to 1') as string,
    });
    await expect(put(...Array.from({ length: 11 }, () => entry()))).rejects.toMatchObject({
      name: 'ValidationException',
      message: expect.stringContaining('Member must have length less than or equal to 10') as string,
    });
    expect(await (await post('{}')).json()).toMatchObject({ __type: 'ValidationException' });
  });

  it('refuses entries of more than 1 MB together, as AWS counts', async () => {
    const frame = Buffer.byteLength(`billingclient.create{"a":""}`);
    const half = (extra: number) =>
      entry({ Detail: `{"a":"${'x'.repeat(maxEntriesBytes / 2 - frame + extra)}"}` });
    expect((await put(half(0), half(0))).FailedEntryCount).toBe(0);
    await expect(put(half(0), half(1))).rejects.toMatchObject({
      name: 'ValidationException',
      message: 'Total size of the entries in the request is over the limit.',
    });
    await expect(put(half(0), half(-13), entry())).rejects.toThrow();
  });

  it('refuses an entry that its envelope makes too large for the queue', async () => {
    const frame = Buffer.byteLength(`billingclient.create{"a":""}`);
    const { Entries } = await put(entry({ Detail: `{"a":"${'x'.repeat(maxEntriesBytes - frame)}"}` }));
    expect(Entries?.[0]).toMatchObject({
      ErrorCode: 'InvalidArgument',
      ErrorMessage: expect.stringContaining('1 MB') as string,
    });
  });

  it.each<[string, unknown]>([
    ['Detail', { ...entry(), Detail: { objectId: 1 } }],
    ['Source', { ...entry(), Source: 1 }],
    ['Time', { ...entry(), Time: 'yesterday' }],
    ['Resources', { ...entry(), Resources: 'arn' }],
    ['Resources', { ...entry(), Resources: [1] }],
    ['entry', 'billing'],
  ])('refuses the whole call for a %s of another type', async (name, wrong) => {
    const answer = await putRaw(entry(), wrong);
    expect(answer.status).toBe(400);
    const body = (await answer.json()) as { __type: string; message: string };
    expect(body.__type).toBe('SerializationException');
    expect(body.message).toContain(name);
    expect(bodies()).toEqual([]);
  });

  it.each(['', '{', '[]', '"x"', '{"Entries":{}}'])('refuses the body %j', async (body) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ __type: 'SerializationException' });
  });

  it('does not read on after 8 MB', async () => {
    const answer = await post(`{"Entries":["${'x'.repeat(9_000_000)}"]}`);
    expect(answer.status).toBe(413);
  });

  it('answers 500, which SDKs try again, when the event cannot be stored', async () => {
    const logged = vi.spyOn(log, 'error').mockReturnValue();
    vi.spyOn(queue, 'send').mockRejectedValue(new Error('database or disk is full'));
    await expect(put(entry())).rejects.toMatchObject({
      name: 'InternalException',
      $metadata: { httpStatusCode: 500 },
    });
    expect(logged).toHaveBeenCalledTimes(1);
  });
});

describe('the caller', () => {
  it('must have signed, with whatever key', async () => {
    for (const authorization of ['', 'Bearer token', 'AWS4-HMAC-SHA256 Signature=0']) {
      const answer = await post('{}', { authorization });
      expect(answer.status).toBe(403);
      expect(await answer.json()).toMatchObject({ __type: 'MissingAuthenticationTokenException' });
    }
  });

  it('may not be a web page', async () => {
    const answer = await post(JSON.stringify({ Entries: [entry()] }), { origin: 'http://127.0.0.1:8080' });
    expect(await answer.json()).toMatchObject({ __type: 'AccessDeniedException' });
  });

  it('may call PutEvents and nothing else', async () => {
    await expect(client.send(new DescribeEventBusCommand({}))).rejects.toMatchObject({
      name: 'UnknownOperationException',
      $metadata: { httpStatusCode: 400 },
    });
    const answer = await post('{}', { 'x-amz-target': 'AmazonSQS.SendMessage' });
    expect(await answer.json()).toMatchObject({ __type: 'UnknownOperationException' });
  });
});

describe('a caller from elsewhere', () => {
  const keys = { accessKeyId: 'HANDOFF0123456789ABC', secretAccessKey: 'a+secret/of=this' };
  let clockMs = 0;
  const now = () => new Date(Date.now() + clockMs);
  beforeEach(async () => {
    clockMs = 0;
    await stop();
    await start({ keys, now });
  });

  const signer = (credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string }) =>
    new EventBridgeClient({ endpoint: url, region: 'eu-central-1', credentials, maxAttempts: 1 });
  const putWith = (credentials: Parameters<typeof signer>[0], changes: PutEventsRequestEntry = {}) =>
    signer(credentials).send(new PutEventsCommand({ Entries: [entry(changes)] }));

  it('is heard when it signs with the keys of the engine, as the SDK does', async () => {
    const detail = JSON.stringify({ data: { name: 'Zoë  Ünïcode', text: 'x'.repeat(100_000) } });
    expect(await putWith(keys, { Detail: detail })).toMatchObject({ FailedEntryCount: 0 });
    expect(bodies()).toHaveLength(1);
  });

  it.each([
    ['with another secret', { ...keys, secretAccessKey: 'wrong' }, 'InvalidSignatureException'],
    ['with an unknown key', { ...keys, accessKeyId: 'AKIAUNKNOWN' }, 'UnrecognizedClientException'],
  ])('is refused %s', async (_, credentials, name) => {
    await expect(putWith(credentials)).rejects.toMatchObject({ name, $metadata: { httpStatusCode: 400 } });
    expect(bodies()).toEqual([]);
  });

  it.each([-6 * 60_000, 6 * 60_000])('is refused when its clock is %i ms off', async (offMs) => {
    clockMs = offMs;
    await expect(putWith(keys)).rejects.toMatchObject({ name: 'InvalidSignatureException' });
  });

  /** The headers and the body of a call that the SDK would make, not yet sent. */
  async function signed(): Promise<{ headers: Record<string, string>; body: string }> {
    const sent = Promise.withResolvers<{ headers: Record<string, string>; body: string }>();
    const caller = signer(keys);
    caller.middlewareStack.add(
      () => (args) => {
        const { headers, body } = args.request as { headers: Record<string, string>; body: string };
        sent.resolve({ headers, body });
        return Promise.reject(new Error('Not sent.'));
      },
      { step: 'finalizeRequest', priority: 'low' },
    );
    await caller.send(new PutEventsCommand({ Entries: [entry()] })).catch(() => undefined);
    return sent.promise;
  }

  it.each([
    ['as it was signed', (call: Awaited<ReturnType<typeof signed>>) => call, null],
    [
      'with another body',
      ({ headers, body }) => ({ headers, body: body.replace('billing', 'bi11ing') }),
      'InvalidSignatureException',
    ],
    [
      'with another time',
      ({ headers, body }) => ({
        headers: {
          ...headers,
          'x-amz-date': `${headers['x-amz-date']?.slice(0, -3)}${headers['x-amz-date']?.endsWith('00Z') === true ? '01Z' : '00Z'}`,
        },
        body,
      }),
      'InvalidSignatureException',
    ],
    [
      'with a header of AWS that is not signed',
      ({ headers, body }) => ({ headers: { ...headers, 'x-amz-meta': '1' }, body }),
      'InvalidSignatureException',
    ],
    [
      'without the signature of its target',
      ({ headers, body }) => ({
        headers: { ...headers, authorization: headers['authorization']?.replace(';x-amz-target', '') ?? '' },
        body,
      }),
      'InvalidSignatureException',
    ],
    [
      'for another service',
      ({ headers, body }) => ({
        headers: { ...headers, authorization: headers['authorization']?.replace('/events/', '/s3/') ?? '' },
        body,
      }),
      'InvalidSignatureException',
    ],
    [
      'with half a signature',
      ({ headers, body }) => ({
        headers: { ...headers, authorization: headers['authorization']?.slice(0, -10) ?? '' },
        body,
      }),
      'IncompleteSignatureException',
    ],
  ] as [
    string,
    (call: Awaited<ReturnType<typeof signed>>) => Awaited<ReturnType<typeof signed>>,
    string | null,
  ][])('sends a call %s', async (_, change, problem) => {
    const { headers, body } = change(await signed());
    const { host: _host, ...others } = headers;
    const answer = await fetch(url, { method: 'POST', headers: others, body });
    expect(await answer.json()).toMatchObject(
      problem === null ? { FailedEntryCount: 0 } : { __type: problem },
    );
    expect(bodies()).toHaveLength(problem === null ? 1 : 0);
  });
});
