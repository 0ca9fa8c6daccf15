import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../../../shared/catalogue/catalogue.ts';
import { startReceiver } from '../../../support/http-server.ts';
import { startApi } from '../api.ts';

let api: Awaited<ReturnType<typeof startApi>>;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const sampleOf = (type: string) => builtInEventTypes.find(({ name }) => name === type)?.sample;

describe('POST /v1/handlers/{id}/test', () => {
  it('delivers the sample of the first event type, signed with the secret of the handler', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(201).end('made'));
    const created = await api.request('POST', '/v1/handlers', {
      name: 'CRM',
      events: ['account.*', 'client.create'],
      target: { type: 'http', url: `${receiver.url}/hook` },
    });
    const { id, secret } = created.body;
    const { status, body } = await api.request('POST', `/v1/handlers/${id}/test`);
    expect(status).toBe(200);

    const [delivery] = receiver.requests;
    expect(
      new Webhook(secret).verify(delivery?.body ?? '', delivery?.headers as Record<string, string>),
    ).toMatchObject({
      type: 'account.create',
      ...sampleOf('account.create'),
    });
    expect(body).toMatchObject({
      execution: {
        handlerId: id,
        handlerName: 'CRM',
        event: 'account.create',
        objectId: 310,
        status: 'succeeded',
        attemptCount: 1,
        statusCode: 201,
        eventBody: { 'detail-type': 'account.create', source: 'handoff.test' },
        attempts: [{ number: 1, statusCode: 201, response: 'made' }],
      },
      request: { type: 'http', method: 'POST', url: `${receiver.url}/hook`, body: delivery?.body },
      response: { statusCode: 201, body: 'made' },
    });
    expect(body.request.headers['webhook-signature']).toBe('***');
    expect(body.execution).not.toHaveProperty('id');
    // A test is no event: nothing of it is in the log.
    expect((await api.request('GET', '/v1/executions')).body.items).toEqual([]);
  });

  it('delivers the event that it was given', async () => {
    await using receiver = await startReceiver();
    const { id } = await api.create({ target: { type: 'http', url: receiver.url } });
    await api.request('POST', `/v1/handlers/${id}/test`, {
      event: { type: 'crm.note', objectId: 'n-1', data: { text: 'Zoë' } },
    });
    expect(JSON.parse(receiver.requests[0]?.body ?? '')).toMatchObject({
      type: 'crm.note',
      objectId: 'n-1',
      data: { text: 'Zoë' },
    });
  });

  it('runs a disabled handler, because that is how one finds out before enabling it', async () => {
    await using receiver = await startReceiver();
    const { id } = await api.create({ status: 'disabled', target: { type: 'http', url: receiver.url } });
    expect((await api.request('POST', `/v1/handlers/${id}/test`)).body.execution.status).toBe('succeeded');
  });

  it('answers 200 for a failure, and does not try again', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(503).end('later'));
    const { id } = await api.create({ target: { type: 'http', url: receiver.url } });
    const { status, body } = await api.request('POST', `/v1/handlers/${id}/test`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      execution: { status: 'failed', error: 'http: status 503', nextAttemptAt: null },
      response: { statusCode: 503, body: 'later' },
    });
    expect(receiver.requests).toHaveLength(1);
  });

  it('has an event without data for a type that is in no catalogue', async () => {
    await using receiver = await startReceiver();
    const { id } = await api.create({ events: ['crm.*'], target: { type: 'http', url: receiver.url } });
    const { body } = await api.request('POST', `/v1/handlers/${id}/test`, {});
    expect(body.execution).toMatchObject({ event: 'crm.test', objectId: null, status: 'succeeded' });
  });

  it.each([
    [{ event: { type: 'Client Create' } }, 'event.type'],
    [{ event: { type: 'client.creat' } }, 'event.type'],
    [{ event: { type: 'client.create', data: [] } }, 'event.data'],
    [{ event: 'client.create' }, 'event'],
    [{ send: true }, 'send'],
  ])('answers 400 for %j and names the field', async (input, field) => {
    const { id } = await api.create();
    const { status, body } = await api.request('POST', `/v1/handlers/${id}/test`, input);
    expect(status).toBe(400);
    expect(body.errors).toMatchObject([{ field }]);
  });

  it('answers 404 for a handler that is not there', async () => {
    expect((await api.request('POST', '/v1/handlers/h_none/test', {})).status).toBe(404);
  });
});

describe('POST /v1/handlers/test', () => {
  const handler = (url: string) => ({
    name: 'not saved',
    events: ['client.update'],
    target: { type: 'http', url, headers: { 'x-tenant': '7' } },
  });

  it('delivers for a handler that is not saved, and saves nothing', async () => {
    await using receiver = await startReceiver();
    const { status, body } = await api.request('POST', '/v1/handlers/test', {
      handler: handler(receiver.url),
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      execution: { status: 'succeeded', handlerName: 'not saved', event: 'client.update' },
      response: { statusCode: 204, body: null },
    });
    expect(receiver.requests[0]?.headers).toMatchObject({
      'x-tenant': '7',
      'webhook-signature': expect.any(String),
    });
    expect((await api.request('GET', '/v1/handlers')).body.items).toEqual([]);
  });

  it.each([
    ['standard', 'application/json', { type: 'client.update', data: { id: 12 } }],
    ['eventbridge', 'application/json', { 'detail-type': 'client.update', detail: { data: { id: 12 } } }],
    [
      'cloudevents',
      'application/cloudevents+json; charset=UTF-8',
      { specversion: '1.0', data: { data: { id: 12 } } },
    ],
    [
      'provisioning',
      'application/json',
      { event: { events_id: 'clients.update', object_id: 12 }, data: { id: 12 } },
    ],
  ])('shows the body in the format %s', async (format, contentType, body) => {
    const { target } = handler('https://crm.example/hook');
    const shown = await api.request('POST', '/v1/handlers/test', {
      handler: { ...handler(''), target: { ...target, format } },
      event: { type: 'client.update', objectId: 12, data: { id: 12 } },
      send: false,
    });
    expect(shown.body.request).toMatchObject({ format, headers: { 'content-type': contentType } });
    expect(JSON.parse(shown.body.request.body)).toMatchObject(body);
  });

  it('shows and sends the numbers of the event as they were written', async () => {
    await using receiver = await startReceiver();
    const data = '{"big":12345678901234567890,"rate":1.50,"most":1e400}';
    const test = (send: boolean) =>
      api.request(
        'POST',
        '/v1/handlers/test',
        `{"handler":${JSON.stringify(handler(receiver.url))},"event":{"type":"crm.merged","objectId":1.0,"data":${data}},"send":${send}}`,
      );
    const { body } = (await test(false)).body.request;
    expect(body).toContain(`"data":${data},"objectId":1.0}`);
    const sent = await test(true);
    expect(receiver.requests[0]?.body).toContain(`"data":${data}`);
    expect(sent.text).toContain(`"detail":{"objectId":1.0,"data":${data}}`);
  });

  it.each([
    ['{ "id": detail.data.id }', '{"id":12}', null],
    ['detail.data.nothing', null, 'transform: gave nothing'],
    ['$match($pad("a", 60, "a") & "!", /^(a+)+$/)', null, 'transform: did not end within 1000 ms'],
  ])('shows what the transform %s makes of the event', async (transform, body, error) => {
    const shown = await api.request('POST', '/v1/handlers/test', {
      handler: { ...handler('https://crm.example/hook'), transform },
      event: { type: 'client.update', objectId: 12, data: { id: 12 } },
      send: false,
    });
    expect(shown).toMatchObject({ status: 200, body: { request: { transform, body, error } } });
  });

  it.each([
    ['detail.(', {}, /^is not JSONata: Expected "\)" .*position 8/u],
    ['detail', { target: { type: 'script', script: 'balance-guard' } }, /http target/u],
  ])('answers 400 for the transform %s', async (transform, more, message) => {
    const answer = await api.request('POST', '/v1/handlers/test', {
      handler: { ...handler('https://crm.example/hook'), transform, ...more },
      send: false,
    });
    expect(answer).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'handler.transform', message: expect.stringMatching(message) as string }] },
    });
  });

  it('only shows what would be sent, when it is not to send', async () => {
    await using receiver = await startReceiver();
    const { body } = await api.request('POST', '/v1/handlers/test', {
      handler: handler(`${receiver.url}/hook`),
      event: { type: 'client.update', objectId: 12, data: { id: 12 } },
      send: false,
    });
    expect(body).toMatchObject({
      execution: null,
      request: { type: 'http', method: 'POST', url: `${receiver.url}/hook`, headers: { 'x-tenant': '7' } },
      response: null,
    });
    expect(JSON.parse(body.request.body)).toMatchObject({ type: 'client.update', data: { id: 12 } });
    expect(receiver.requests).toEqual([]);
  });

  it.each([
    [{}, 'handler'],
    [{ handler: { name: 'x', events: ['client.create'] } }, 'handler.target'],
    [{ handler: handler('http://169.254.169.254/') }, 'handler.target.url'],
    [
      { handler: { name: 'x', events: ['client.create'], target: { type: 'script', script: 'gone' } } },
      'handler.target.script',
    ],
    [{ handler: handler('https://crm.example/'), send: 'no' }, 'send'],
  ])('answers 400 for %j and names the field', async (input, field) => {
    const { status, body } = await api.request('POST', '/v1/handlers/test', input);
    expect(status).toBe(400);
    expect(body.errors).toMatchObject([{ field }]);
  });
});
