import { fileURLToPath } from 'node:url';
import { IAMClient } from '@aws-sdk/client-iam';
import { describe, expect, it } from 'vitest';
import { findScripts } from '../../shared/scripts/find-scripts.ts';
import { clientOf, leftByEarlier } from './deployed-stack.ts';
import {
  allows,
  readCalls,
  readPermissions,
  roleOfCall,
  type Permission,
  type RecordedCall,
} from './policies.ts';

const shippedScripts = new Set(['balance-guard', 'rates-handoff']);
const scripts = findScripts(fileURLToPath(new URL('../../functions/scripts', import.meta.url))).map(
  ({ name }) => name,
);
const functions = [
  'ApiManage',
  'DispatcherDispatch',
  'RetriesRetry',
  'RetriesSweep',
  ...scripts.map((name) => `Scripts${name.replaceAll('-', '')}`),
];

/**
 * Why a permission is there that no call of the tests needed: by the role (a part of its name), the action, and the resource (a part
 * of its ARN).
 */
const reasons: readonly (readonly [role: string, action: string, resource: string, reason: string])[] = [
  ...functions.flatMap((name) =>
    ['logs:CreateLogStream', 'logs:PutLogEvents'].map(
      (action) =>
        [
          name,
          action,
          `/${name}Logs`,
          'Lambda writes the log of a function by its role; the emulator writes it itself',
        ] as const,
    ),
  ),
  ...scripts
    .filter((name) => !shippedScripts.has(name))
    .flatMap((name) =>
      ['lambda:GetFunctionConfiguration', 'lambda:InvokeFunction'].map(
        (action) =>
          ['', action, `-script-${name}`, 'a script of the deployer’s own, which no test knows'] as const,
      ),
    ),
  [
    '',
    'logs:CreateLogStream',
    '',
    'Lambda writes the log of a function by its role; the emulator writes it itself',
  ],
  ['', 'logs:PutLogEvents', '', 'the same'],
  ...[
    'ChangeMessageVisibility',
    'DeleteMessage',
    'GetQueueAttributes',
    'GetQueueUrl',
    'ReceiveMessage',
  ].flatMap((action) =>
    [
      ['DispatcherDispatch', 'EventsQueue'],
      ['RetriesRetry', 'RetriesQueue'],
    ].map(
      ([role = '', queue = '']) =>
        [
          role,
          `sqs:${action}`,
          queue,
          'Lambda reads the queue by the role; the emulator reads it itself',
        ] as const,
    ),
  ),
  [
    'RetriesSweep',
    'kms:Decrypt',
    '',
    'seals what is redacted in a dead letter, where the setting redactPaths names it',
  ],
  [
    'DispatcherDispatch',
    'sqs:SendMessage',
    'EventsQueue',
    'sends an event again when its batch runs out of time, after minutes: functions/dispatcher/dispatch.ts',
  ],
];

const stack = leftByEarlier();
const iam = new IAMClient(clientOf(stack));
const permissions = await readPermissions(iam, 'Handoff');
iam.destroy();
const isOfFunction = (call: RecordedCall) => permissions.some(({ role }) => role === roleOfCall(call));
const calls = (await readCalls(stack.callsFile)).filter(isOfFunction);

const describeCall = (call: RecordedCall) => `${roleOfCall(call)}: ${call.action} on ${call.resource}`;
/** One action on one resource, which is what a statement is made of. */
const parts = permissions.flatMap((permission) =>
  permission.actions.flatMap((action) =>
    permission.resources.map((resource) => ({ ...permission, actions: [action], resources: [resource] })),
  ),
);
const isUsed = (part: Permission) => calls.some((call) => allows(part, call));
const reasonsOf = ({ role, actions: [action = ''], resources: [resource = ''] }: Permission) =>
  reasons.filter(
    ([ofRole, ofAction, ofResource]) =>
      role.includes(ofRole) && action === ofAction && resource.includes(ofResource),
  );
const nameOf = ({ role, actions, resources }: Permission) =>
  `${role}: ${actions.join()} on ${resources.join()}`;

describe('the roles of the functions', () => {
  it('are all there, and called', () => {
    const roles = [...new Set(permissions.map(({ role }) => role))];
    expect(roles.toSorted()).toEqual(functions.map((name) => `${name}Role`).toSorted());
    const called = new Set(calls.map(roleOfCall));
    for (const name of functions.slice(0, 4)) expect(called, name).toContain(`${name}Role`);
    expect(calls.length).toBeGreaterThan(500);
  });

  it('name every action and every resource', () => {
    const vague = parts.filter(
      ({ actions: [action = ''], resources: [resource = ''] }) =>
        action.includes('*') || resource.replace(/^(arn:aws:logs:.*):\*$/u, '$1').includes('*'),
    );
    expect(vague.map(nameOf)).toEqual([]);
  });

  it('are bound to the purpose where they use the key', () => {
    const ofKey = permissions.filter(({ actions }) => actions.some((action) => action.startsWith('kms:')));
    expect(ofKey).toHaveLength(4);
    for (const { conditions } of ofKey) {
      expect(conditions).toEqual({ StringEquals: { 'kms:EncryptionContext:purpose': 'handoff-data-key' } });
    }
    const others = permissions.filter((permission) => !ofKey.includes(permission));
    expect(others.flatMap(({ conditions }) => conditions ?? [])).toEqual([]);
  });

  it('allowed every call that was made', () => {
    expect(calls.filter(({ allowed }) => !allowed).map(describeCall)).toEqual([]);
  });

  it('allow nothing that no call needed, but for a written reason', () => {
    const unused = parts.filter((part) => !isUsed(part) && reasonsOf(part).length === 0);
    expect(unused.map(nameOf)).toEqual([]);
  });

  it('have no reason written down for what was used, or is not there', () => {
    const idle = reasons.filter(
      (reason) => !parts.some((part) => reasonsOf(part).includes(reason) && !isUsed(part)),
    );
    expect(idle).toEqual([]);
  });
});

describe('a statement that is taken away', () => {
  const usedStatements = permissions.filter((permission) =>
    parts.some((part) => isPartOf(part, permission) && isUsed(part)),
  );

  it.each(usedStatements.map((permission) => [nameOf(permission), permission] as const))(
    'is noticed: %s',
    (_, taken) => {
      const rest = permissions.filter((permission) => permission !== taken);
      expect(calls.every((call) => rest.some((permission) => allows(permission, call)))).toBe(false);
    },
  );
});

function isPartOf(part: Permission, whole: Permission): boolean {
  return (
    part.role === whole.role &&
    part.actions.every((action) => whole.actions.includes(action)) &&
    part.resources.every((resource) => whole.resources.includes(resource))
  );
}
