import {
  CognitoIdentityProviderClient,
  DescribeUserPoolClientCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import type { Role } from '../../shared/role.ts';
import type { Settings } from './cdk.ts';
import { clientOf, type DeployedStack } from './deployed-stack.ts';

/** A machine client for each role, which is called like it. */
export const machineSettings: Settings = { machineClients: 'read:read,operate:operate,admin:admin' };

type Deployment = Pick<DeployedStack, 'endpoint' | 'region' | 'credentials' | 'certificate' | 'outputs'>;

/** The id of the machine client of a role. */
export const machineId = ({ outputs }: Pick<Deployment, 'outputs'>, role: Role): string =>
  new Map(
    (outputs['MachineClients'] ?? '').split(',').map((pair) => pair.split(':') as [string, string]),
  ).get(role) ?? '';

/** An access token of the machine client of a role, got as docs/deploy.md tells it. Throws an Error when there is none. */
export async function machineToken(stack: Deployment, role: Role): Promise<string> {
  const cognito = new CognitoIdentityProviderClient(clientOf(stack));
  const ClientId = machineId(stack, role);
  const { UserPoolClient } = await cognito.send(
    new DescribeUserPoolClientCommand({ UserPoolId: stack.outputs['UserPoolId'], ClientId }),
  );
  cognito.destroy();
  const basic = Buffer.from(`${ClientId}:${UserPoolClient?.ClientSecret}`).toString('base64');
  const answer = await fetch(`${stack.endpoint}/oauth2/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  const { access_token: token } = (await answer.json()) as { access_token?: string };
  if (token === undefined) throw new Error(`There is no token for the role ${role}: ${answer.status}`);
  return token;
}
