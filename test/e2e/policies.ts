import { readFile } from 'node:fs/promises';
import {
  type IAMClient,
  GetRolePolicyCommand,
  paginateListAttachedRolePolicies,
  paginateListRolePolicies,
  paginateListRoles,
} from '@aws-sdk/client-iam';

/** One call that reached the emulator, with what the policies say of it. */
export type RecordedCall = {
  /** ARN of the caller: `arn:aws:sts::000000000000:assumed-role/<role>/<session>`, or that of the account's root. */
  principal: string | null;
  /** `dynamodb:PutItem`. */
  action: string;
  /** ARN. */
  resource: string;
  allowed: boolean;
};

/** All calls that the emulator has recorded so far, in their order. */
export const readCalls = async (file: string): Promise<RecordedCall[]> =>
  (await readFile(file, 'utf8'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as RecordedCall);

/** One statement of the policy of a role that a function has. */
export type Permission = {
  /** As the stack calls it, without what makes it unique: `DispatcherDispatchRole`. */
  role: string;
  actions: readonly string[];
  resources: readonly string[];
  conditions: object | null;
};

type Statement = {
  Effect: string;
  Action: string | string[];
  Resource: string | string[];
  Condition?: object;
};

/**
 * All that the roles of a stack's functions may do, as it was deployed; what is denied them besides is the emulator's to judge. Throws when a
 * policy is not the role's own: that would not be read here.
 */
export async function readPermissions(iam: IAMClient, stackName: string): Promise<Permission[]> {
  const permissions: Permission[] = [];
  for await (const { Roles = [] } of paginateListRoles({ client: iam }, {})) {
    for (const { RoleName = '' } of Roles.filter(({ RoleName: name }) => name?.startsWith(`${stackName}-`))) {
      for await (const { AttachedPolicies = [] } of paginateListAttachedRolePolicies(
        { client: iam },
        { RoleName },
      )) {
        const names = AttachedPolicies.map(({ PolicyName }) => PolicyName).join(', ');
        if (names !== '') throw new Error(`${RoleName} has policies that are not its own: ${names}`);
      }
      for await (const { PolicyNames = [] } of paginateListRolePolicies({ client: iam }, { RoleName })) {
        for (const PolicyName of PolicyNames) {
          const { PolicyDocument = '' } = await iam.send(new GetRolePolicyCommand({ RoleName, PolicyName }));
          const document = JSON.parse(decodeURIComponent(PolicyDocument)) as { Statement: Statement[] };
          const allowing = document.Statement.filter(({ Effect }) => Effect === 'Allow');
          permissions.push(...allowing.map((statement) => permissionOf(RoleName, statement)));
        }
      }
    }
  }
  return permissions;
}

function permissionOf(roleName: string, { Action, Resource, Condition }: Statement): Permission {
  return {
    role: roleOf(roleName),
    actions: [Action].flat(),
    resources: [Resource].flat(),
    conditions: Condition ?? null,
  };
}

// `Handoff-DispatcherDispatchRole0B1F2C3D-4E5F6A7B8C9D`: the stack, the role's logical id with its hash, and what CloudFormation adds.
const roleOf = (roleName: string): string =>
  /^[\w-]+?-(\w+)[0-9A-F]{8}-\w+$/u.exec(roleName)?.[1] ?? roleName;

/** Of a test that tries what a role may do: no function needed these calls. */
export const trialSession = 'trial';

/** The role by which a call was made; null when it was no function's. */
export const roleOfCall = ({ principal }: RecordedCall): string | null => {
  const [, roleName, session] = /:assumed-role\/([^/]+)\/(.+)$/u.exec(principal ?? '') ?? [];
  return roleName === undefined || session === trialSession ? null : roleOf(roleName);
};

/** Whether a permission allows a call. Its conditions are the emulator's to judge. */
export const allows = (permission: Permission, call: RecordedCall): boolean =>
  permission.role === roleOfCall(call) &&
  permission.actions.includes(call.action) &&
  permission.resources.some((resource) => resource === call.resource);
