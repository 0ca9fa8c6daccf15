import { Duration, Lazy, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import {
  AccountRecovery,
  FeaturePlan,
  Mfa,
  OAuthScope,
  ResourceServerScope,
  UserPool,
  UserPoolClientIdentityProvider,
  type UserPoolClientOptions,
} from 'aws-cdk-lib/aws-cognito';
import { Construct } from 'constructs';
import { roles, scopeOf, type Role } from '../../shared/role.ts';
import { reservedInDomains, type Config } from '../config.ts';
import { DeployError } from '../deploy-error.ts';

/** Whose tokens the API takes. */
export type TokenSource = {
  /** As `iss` has it, to the letter. */
  issuer: string;
  /** One of them is in `aud`; or in `client_id` where there is no `aud`, as in the access tokens of Cognito. */
  audience: string[];
};

const descriptions: Record<Role, string> = {
  read: 'Looks at handlers, executions and the data of events',
  operate:
    'Looks, and retries, recovers, tests, publishes events, enables and disables handlers, sends dead letters again',
  admin: 'Does all that, and registers, changes and deletes handlers',
};

// The scope `handoff/read` is `read` of the resource server `handoff`.
const [resourceServer = ''] = scopeOf('read').split('/');

/** The prefix of a domain: https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-assign-domain-prefix.html */
const maxPrefixLength = 63;
const accountIdLength = 12;

/**
 * A Cognito user pool. People are made in it by an administrator, who puts them into the group of their role. Machine clients have the scope
 * of theirs. It outlives the stack, as the tables do.
 */
export class SignIn extends Construct implements TokenSource {
  readonly issuer: string;
  readonly audience: string[];
  readonly userPoolId: string;
  /** Where the pages are on which people sign in; nothing at the end. */
  readonly url: string;
  /** Where tokens are given out (RFC 6749, 3.2). */
  readonly tokenUrl: string;
  /** `<name>:<client id>`, comma-separated; empty where there are none. */
  readonly machineClients: string;
  readonly #pool: UserPool;
  readonly #callbackUrls: string[];
  readonly #clientIds: string[] = [];

  constructor(scope: Construct, id: string, config: Config) {
    super(scope, id);
    const { stackName, region, urlSuffix, account } = Stack.of(this);

    this.#pool = createPool(this);
    for (const role of roles) {
      this.#pool.addGroup(`Group-${role}`, {
        groupName: scopeOf(role),
        description: descriptions[role],
      });
    }
    const newScope = (role: Role) =>
      new ResourceServerScope({ scopeName: role, scopeDescription: descriptions[role] });
    const scopes = { read: newScope('read'), operate: newScope('operate'), admin: newScope('admin') };
    const server = this.#pool.addResourceServer('Scopes', {
      identifier: resourceServer,
      scopes: Object.values(scopes),
    });
    const machines = config.machineClients.map(
      ({ name, role }) =>
        `${name}:${this.#addMachine(name, OAuthScope.resourceServer(server, scopes[role]))}`,
    );
    const domain = this.#pool.addDomain('Domain', {
      cognitoDomain: { domainPrefix: config.signInDomain ?? `${defaultPrefix(stackName)}-${account}` },
    });

    this.userPoolId = this.#pool.userPoolId;
    // The pool's own attribute says the same; the emulator that the tests deploy to does not know it.
    this.issuer = `https://cognito-idp.${region}.${urlSuffix}/${this.userPoolId}`;
    // The console's client comes when the API has an address, and the authorizer that asks for this belongs to the API.
    this.audience = Lazy.list({ produce: () => this.#clientIds });
    this.url = domain.baseUrl();
    this.tokenUrl = `${this.url}/oauth2/token`;
    this.machineClients = machines.join(',');
    this.#callbackUrls = config.callbackUrls;
  }

  /**
   * The client through which people sign in: authorization code with PKCE, without a secret, since it runs in their browsers. It has no
   * scope of ours, whoever signs in.
   *
   * @param apiUrl with a slash at the end; the console is at `console/` there
   * @returns the id of the client
   */
  addConsole(apiUrl: string): string {
    const urls = this.#callbackUrls.length > 0 ? this.#callbackUrls : [`${apiUrl}console/`];
    return this.#addClient('Console', {
      // For whoever has credentials of AWS that allow it: a first token without a browser (docs/deploy.md).
      authFlows: { adminUserPassword: true },
      oAuth: {
        flows: { authorizationCodeGrant: true },
        scopes: [OAuthScope.OPENID, OAuthScope.PROFILE, OAuthScope.EMAIL],
        callbackUrls: urls,
        logoutUrls: urls,
      },
      idTokenValidity: Duration.hours(1),
      refreshTokenValidity: Duration.days(1),
    });
  }

  #addMachine(name: string, scope: OAuthScope): string {
    return this.#addClient(`Machine-${name}`, {
      userPoolClientName: name,
      generateSecret: true,
      // Left out, Cognito would let people sign in through it.
      authFlows: { userSrp: false },
      oAuth: {
        flows: { clientCredentials: true },
        scopes: [scope],
      },
    });
  }

  #addClient(id: string, options: UserPoolClientOptions): string {
    const { userPoolClientId } = this.#pool.addClient(id, {
      supportedIdentityProviders: [UserPoolClientIdentityProvider.COGNITO],
      preventUserExistenceErrors: true,
      // Nobody is asked again while a token is good: so long does it take until a role that was taken away is gone.
      accessTokenValidity: Duration.hours(1),
      ...options,
    });
    this.#clientIds.push(userPoolClientId);
    return userPoolClientId;
  }
}

function createPool(scope: Construct): UserPool {
  const pool = new UserPool(scope, 'Pool', {
    userPoolName: Stack.of(scope).stackName,
    selfSignUpEnabled: false,
    // The name is what the audit shows, and it cannot be changed; the address can.
    signInAliases: { username: true, email: true },
    signInCaseSensitive: false,
    standardAttributes: { email: { required: true, mutable: true } },
    accountRecovery: AccountRecovery.EMAIL_ONLY,
    mfa: Mfa.OPTIONAL,
    mfaSecondFactor: { otp: true, sms: false },
    passwordPolicy: {
      minLength: 12,
      requireLowercase: true,
      requireUppercase: true,
      requireDigits: true,
      requireSymbols: true,
    },
    featurePlan: FeaturePlan.ESSENTIALS,
    deletionProtection: true,
    removalPolicy: RemovalPolicy.RETAIN,
  });
  Validations.of(pool).acknowledge(
    {
      id: 'AwsSolutions-COG2',
      reason:
        'A second factor is there for each person to turn on. Who demands one of everybody has an issuer that does, and sets oidcIssuer.',
    },
    {
      id: 'AwsSolutions-COG8',
      reason:
        'Threat protection is billed for each person. Those of this pool are few, and made by an administrator who knows them.',
    },
  );
  return pool;
}

/** The beginning of a prefix that ends in the account's number, as every account and stack needs one of its own. */
function defaultPrefix(stackName: string): string {
  const prefix = stackName.toLowerCase();
  const word = reservedInDomains.find((reserved) => prefix.includes(reserved));
  if (word !== undefined) {
    throw new DeployError(
      `The stackName "${stackName}" cannot begin the name of a sign-in domain, in which Cognito does not take "${word}": set signInDomain.`,
    );
  }
  const maxLength = maxPrefixLength - accountIdLength - 1;
  if (prefix.length > maxLength) {
    throw new DeployError(
      `The stackName "${stackName}" is too long to begin the name of a sign-in domain, by ${prefix.length - maxLength} characters: set signInDomain.`,
    );
  }
  return prefix;
}
