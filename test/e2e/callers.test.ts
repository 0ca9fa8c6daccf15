import { createHash, createPrivateKey, randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AdminAddUserToGroupCommand,
  AdminCreateUserCommand,
  AdminInitiateAuthCommand,
  AdminSetUserPasswordCommand,
  CognitoIdentityProviderClient,
  CreateUserPoolClientCommand,
  InitiateAuthCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  CreateAccessKeyCommand,
  CreateUserCommand,
  IAMClient,
  PutUserPolicyCommand,
} from '@aws-sdk/client-iam';
import { AwsClient } from 'aws4fetch';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { roles, scopeOf, type Role } from '../../shared/role.ts';
import { connect, type System } from '../acceptance/system.ts';
import { sendWithToken } from '../support/api.ts';
import { badTokens, sign, type Signer } from '../support/tokens.ts';
import { clientOf } from './deployed-stack.ts';
import { machineId, machineToken } from './tokens.ts';

const stack = inject('stack');
const { region, endpoint, outputs, poolKeysFolder } = stack;
const { apiUrl, busName } = inject('system');
const UserPoolId = outputs['UserPoolId'] ?? '';
const consoleId = outputs['ConsoleClientId'] ?? '';
const consoleUrl = `${(outputs['ApiUrl'] ?? '').replace(/\/$/u, '')}/console/`;

let system: System;
let iam: IAMClient;
let cognito: CognitoIdentityProviderClient;
/** The pool itself. */
let pool: Signer;
beforeAll(async () => {
  system = connect();
  iam = new IAMClient(clientOf(stack));
  cognito = new CognitoIdentityProviderClient(clientOf(stack));
  const key = createPrivateKey(await readFile(join(poolKeysFolder, `${UserPoolId}-access.pem`)));
  pool = { key, kid: decodeProtectedHeader(await machineToken(stack, 'read')).kid ?? '' };
});
afterAll(async () => {
  await system.close();
  iam.destroy();
  cognito.destroy();
});

const statusOf = async (token: string, method = 'GET', path = '/v1/handlers') =>
  (await sendWithToken(apiUrl, token)(path, { method })).status;

/** A call for each role, and what it is answered when the caller has that role: there is no such handler. */
const calls = {
  read: ['GET', '/v1/handlers', 200],
  operate: ['POST', '/v1/handlers/h_none/enable', 404],
  admin: ['DELETE', '/v1/handlers/h_none', 404],
} as const satisfies Record<Role, unknown>;

/** Tries every call, and expects 403 for those that take more than the role. */
async function expectRole(token: string, role: Role | null): Promise<void> {
  const least = role === null ? -1 : roles.indexOf(role);
  for (const [index, needed] of roles.entries()) {
    const [method, path, status] = calls[needed];
    expect(await statusOf(token, method, path), `${method} ${path}`).toBe(index <= least ? status : 403);
  }
}

type Person = { username: string; password: string };

/** Somebody whom an administrator has made, with a password of their own. */
async function createPerson(...groups: string[]): Promise<Person> {
  const person = { username: `ada-${randomUUID()}`, password: `Aa1!${randomUUID()}` };
  const { username: Username, password: Password } = person;
  await cognito.send(
    new AdminCreateUserCommand({
      UserPoolId,
      Username,
      UserAttributes: [{ Name: 'email', Value: `${Username}@crm.example` }],
      MessageAction: 'SUPPRESS',
    }),
  );
  await cognito.send(new AdminSetUserPasswordCommand({ UserPoolId, Username, Password, Permanent: true }));
  for (const GroupName of groups) {
    await cognito.send(new AdminAddUserToGroupCommand({ UserPoolId, Username, GroupName }));
  }
  return person;
}

/** Signs in with credentials of AWS, as docs/deploy.md tells it for the first user. */
async function signInByCommand({ username, password }: Person) {
  const { AuthenticationResult: result } = await cognito.send(
    new AdminInitiateAuthCommand({
      UserPoolId,
      ClientId: consoleId,
      AuthFlow: 'ADMIN_USER_PASSWORD_AUTH',
      AuthParameters: { USERNAME: username, PASSWORD: password },
    }),
  );
  return { accessToken: result?.AccessToken ?? '', idToken: result?.IdToken ?? '' };
}

/** Signs in on the hosted page, as the console lets people do it: the code comes back to it, and is good with the verifier alone. */
async function signInByBrowser({ username, password }: Person, { scope = 'openid profile' } = {}) {
  const verifier = randomBytes(32).toString('base64url');
  const request = {
    response_type: 'code',
    client_id: consoleId,
    redirect_uri: consoleUrl,
    scope,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  };
  const query = new URLSearchParams(request).toString();
  const page = await fetch(`${endpoint}/oauth2/authorize?${query}`, { redirect: 'manual' });
  if (page.status !== 200)
    return { refused: new URL(page.headers.get('location') ?? '').searchParams.get('error_description') };
  const submitted = await fetch(`${endpoint}/login`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ ...request, username, password }),
  });
  const back = new URL(submitted.headers.get('location') ?? '');
  expect(back.origin + back.pathname).toBe(consoleUrl);
  const redeem = async (code_verifier: string) => {
    const answer = await fetch(`${endpoint}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: consoleId,
        redirect_uri: consoleUrl,
        code: back.searchParams.get('code') ?? '',
        code_verifier,
      }),
    });
    return (await answer.json()) as { access_token?: string; id_token?: string; error?: string };
  };
  expect(await redeem('a guess')).toMatchObject({ error: 'invalid_grant' });
  const { access_token: accessToken = '', id_token: idToken = '' } = await redeem(verifier);
  return { accessToken, idToken };
}

describe('the API', () => {
  it('lets nobody in who has no token', async () => {
    for (const headers of [
      {},
      { authorization: '' },
      { authorization: 'Bearer' },
      { authorization: 'Basic YTpi' },
    ]) {
      expect((await fetch(`${apiUrl}/v1/handlers`, { headers })).status).toBe(401);
    }
    expect(await statusOf('garbage')).toBe(401);
    expect(await statusOf('gar.ba.ge')).toBe(401);
  });

  it('lets nobody in with a token that is not what the user pool gave out for it', async () => {
    const good = decodeJwt(await machineToken(stack, 'admin'));
    expect(await statusOf(await sign(good, pool))).toBe(200);
    for (const [what, token] of await badTokens(good, pool, 'client_id')) {
      expect(await statusOf(token), what).toBe(401);
    }
  });

  it('lets nobody in who has come to the pool through another client', async () => {
    const { UserPoolClient: other } = await cognito.send(
      new CreateUserPoolClientCommand({
        UserPoolId,
        ClientName: 'other',
        ExplicitAuthFlows: ['ALLOW_USER_PASSWORD_AUTH'],
      }),
    );
    const { username, password } = await createPerson('handoff/admin');
    const { AuthenticationResult: result } = await cognito.send(
      new InitiateAuthCommand({
        ClientId: other?.ClientId ?? '',
        AuthFlow: 'USER_PASSWORD_AUTH',
        AuthParameters: { USERNAME: username, PASSWORD: password },
      }),
    );
    expect(result?.AccessToken).toMatch(/\./u);
    expect(await statusOf(result?.AccessToken ?? '')).toBe(401);
  });

  it.each(roles)('lets a machine client do what its role is for: %s', async (role) => {
    await expectRole(await machineToken(stack, role), role);
  });

  it.each(roles)('lets a person do what the group is for: %s', async (role) => {
    await expectRole((await signInByCommand(await createPerson(scopeOf(role)))).accessToken, role);
  });

  it('goes by the highest of the groups that a person is in', async () => {
    const person = await createPerson('handoff/read', 'handoff/operate');
    await expectRole((await signInByCommand(person)).accessToken, 'operate');
  });

  it('lets people in who have signed in on the page, for whom no scope is to be had', async () => {
    const person = await createPerson('handoff/operate');
    await expectRole((await signInByBrowser(person)).accessToken ?? '', 'operate');
    expect(await signInByBrowser(person, { scope: 'openid handoff/admin' })).toEqual({
      refused: 'invalid_scope',
    });
  });

  it('lets somebody without a group do nothing, whatever their client may ask for', async () => {
    const { accessToken } = await signInByCommand(await createPerson());
    await expectRole(accessToken, null);
    // What Cognito would give out, had somebody let the client have our scopes.
    const claims = { ...decodeJwt(accessToken), scope: 'openid handoff/read handoff/admin' };
    for (const client_id of [consoleId, machineId(stack, 'admin')]) {
      await expectRole(await sign({ ...claims, client_id }, pool), null);
    }
  });

  it('tells somebody with an ID token to come with the access token', async () => {
    const person = await createPerson('handoff/admin');
    for (const { idToken } of [await signInByCommand(person), await signInByBrowser(person)]) {
      const answer = await sendWithToken(apiUrl, idToken)('/v1/handlers');
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
      expect(await answer.json()).toMatchObject({
        detail: expect.stringContaining('access token') as string,
      });
    }
  });
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

const putEvent = async (credentials: Credentials): Promise<void> => {
  const client = new EventBridgeClient({ endpoint, region, credentials, maxAttempts: 1 });
  const entry = { EventBusName: busName, Source: 'e2e', DetailType: system.newType(), Detail: '{}' };
  try {
    await client.send(new PutEventsCommand({ Entries: [entry] }));
  } finally {
    client.destroy();
  }
};

describe('the bus', () => {
  it('takes events of who may put them there, who cannot do anything else', async () => {
    const upstream = await createUser('upstream', 'events:PutEvents', outputs['EventBusArn'] ?? '');
    const stranger = await createUser('stranger', 'sqs:ListQueues', '*');

    await putEvent(upstream);
    await expect(putEvent(stranger)).rejects.toThrow(/not authorized/u);
    const signed = new AwsClient({ ...upstream, region, service: 'execute-api', retries: 0 });
    expect((await signed.fetch(`${apiUrl}/v1/handlers`)).status).toBe(401);
  });
});
