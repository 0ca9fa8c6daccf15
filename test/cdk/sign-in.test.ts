import { describe, expect, it } from 'vitest';
import { idOf, openStack, resourceOf, resourcesOf, synthesize } from './synthesize.ts';

const template = synthesize({ machineClients: 'billing:operate,reports:read' });
const clients = resourcesOf(template, 'AWS::Cognito::UserPoolClient');
const clientOf = (prefix: string) =>
  resourceOf(template, 'AWS::Cognito::UserPoolClient', `SignInPool${prefix}`).Properties;

describe('the user pool', () => {
  const pool = resourceOf(template, 'AWS::Cognito::UserPool', 'SignInPool');

  it('outlives the stack, and cannot be deleted by mistake', () => {
    expect(pool).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: { DeletionProtection: 'ACTIVE' },
    });
  });

  it('has nobody sign up, asks for strong passwords, and lets people turn a second factor on', () => {
    expect(pool.Properties).toMatchObject({
      AdminCreateUserConfig: { AllowAdminCreateUserOnly: true },
      MfaConfiguration: 'OPTIONAL',
      EnabledMfas: ['SOFTWARE_TOKEN_MFA'],
      Policies: {
        PasswordPolicy: {
          MinimumLength: 12,
          RequireLowercase: true,
          RequireUppercase: true,
          RequireNumbers: true,
          RequireSymbols: true,
        },
      },
      AccountRecoverySetting: { RecoveryMechanisms: [{ Name: 'verified_email', Priority: 1 }] },
    });
  });

  it('sends no text messages, which would want a role', () => {
    expect(pool.Properties).not.toHaveProperty('SmsConfiguration');
  });

  it('has a group and a scope for each role', () => {
    const groups = Object.values(resourcesOf(template, 'AWS::Cognito::UserPoolGroup'));
    expect(groups.map(({ Properties }) => Properties['GroupName'])).toEqual([
      'handoff/read',
      'handoff/operate',
      'handoff/admin',
    ]);
    expect(resourceOf(template, 'AWS::Cognito::UserPoolResourceServer', 'SignIn').Properties).toMatchObject({
      Identifier: 'handoff',
      Scopes: [{ ScopeName: 'read' }, { ScopeName: 'operate' }, { ScopeName: 'admin' }],
    });
  });
});

describe('the client of the console', () => {
  it('has no secret, a code for a sign-in, and none of our scopes', () => {
    const client = clientOf('Console');
    expect(client).not.toHaveProperty('GenerateSecret');
    expect(client).toMatchObject({
      AllowedOAuthFlows: ['code'],
      AllowedOAuthScopes: ['openid', 'profile', 'email'],
      // No password of a person goes through it but with credentials of AWS.
      ExplicitAuthFlows: ['ALLOW_ADMIN_USER_PASSWORD_AUTH', 'ALLOW_REFRESH_TOKEN_AUTH'],
      PreventUserExistenceErrors: 'ENABLED',
    });
  });

  it('leads people back to the API’s own console', () => {
    const urls = [
      {
        'Fn::Join': [
          '',
          [
            'https://',
            { Ref: idOf(template, 'AWS::ApiGatewayV2::Api', 'ApiHttpApi') },
            '.execute-api.',
            { Ref: 'AWS::Region' },
            '.',
            { Ref: 'AWS::URLSuffix' },
            '/console/',
          ],
        ],
      },
    ];
    expect(clientOf('Console')).toMatchObject({ CallbackURLs: urls, LogoutURLs: urls });
  });
});

describe('machine clients', () => {
  it('have a secret, and the scope of their role alone', () => {
    const scope = (name: string) => ({
      'Fn::Join': ['', [{ Ref: idOf(template, 'AWS::Cognito::UserPoolResourceServer', 'SignIn') }, name]],
    });
    for (const [name, role] of [
      ['billing', '/operate'],
      ['reports', '/read'],
    ] as const) {
      expect(clientOf(`Machine${name}`)).toMatchObject({
        ClientName: name,
        GenerateSecret: true,
        AllowedOAuthFlows: ['client_credentials'],
        AllowedOAuthScopes: [scope(role)],
        ExplicitAuthFlows: ['ALLOW_REFRESH_TOKEN_AUTH'],
      });
    }
  });

  it('are those whose tokens the API takes, beside the console’s', () => {
    const { JwtConfiguration } = resourceOf(template, 'AWS::ApiGatewayV2::Authorizer', 'Api').Properties as {
      JwtConfiguration: { Audience: { Ref: string }[] };
    };
    expect(JwtConfiguration.Audience.map(({ Ref }) => Ref).toSorted()).toEqual(
      Object.keys(clients).toSorted(),
    );
  });

  it('give out tokens for an hour, as every client does', () => {
    for (const { Properties } of Object.values(clients)) {
      expect(Properties).toMatchObject({
        AccessTokenValidity: 60,
        TokenValidityUnits: { AccessToken: 'minutes' },
      });
    }
  });

  it('keep their secrets out of the template and its outputs', () => {
    expect(JSON.stringify(template.toJSON())).not.toMatch(/ClientSecret/u);
  });
});

describe('the domain', () => {
  const domainOf = (settings: Record<string, unknown>) =>
    resourceOf(synthesize(settings), 'AWS::Cognito::UserPoolDomain', 'SignIn').Properties['Domain'];

  it('begins with the stack’s name and ends in the account’s number', () => {
    expect(domainOf({ stackName: 'Crm-Live' })).toEqual({
      'Fn::Join': ['', ['crm-live-', { Ref: 'AWS::AccountId' }]],
    });
  });

  it('is the one that was set, whatever the stack is called', () => {
    expect(domainOf({ stackName: 'Crm-on-AWS', signInDomain: 'crm' })).toBe('crm');
  });

  it('cannot begin with any name of a stack', () => {
    expect(() => openStack({ stackName: 'Crm-on-AWS' })).toThrow(
      'The stackName "Crm-on-AWS" cannot begin the name of a sign-in domain, in which Cognito does not take "aws": set signInDomain.',
    );
    expect(() => openStack({ stackName: 'C'.repeat(50) })).not.toThrow();
    expect(() => openStack({ stackName: 'C'.repeat(52) })).toThrow('by 2 characters: set signInDomain.');
  });
});

describe('another issuer', () => {
  const other = synthesize({ oidcIssuer: 'https://crm.eu.auth0.com/', oidcAudience: 'handoff,handoff-2' });

  it('makes no pool', () => {
    expect(JSON.stringify(other.toJSON())).not.toContain('Cognito');
    expect(Object.keys(other.findOutputs('*'))).not.toContain('UserPoolId');
  });

  it('is whom the API believes, for the audience that was set', () => {
    expect(resourceOf(other, 'AWS::ApiGatewayV2::Authorizer', 'Api').Properties).toMatchObject({
      JwtConfiguration: { Issuer: 'https://crm.eu.auth0.com/', Audience: ['handoff', 'handoff-2'] },
    });
  });
});
