import type { TestProject } from 'vitest/node';
import '../acceptance/system-under-test.ts';
import { bootstrap, cdk, deploy, outsideAddress, receiverSettings } from './cdk.ts';
import { leaveForLater } from './deployed-stack.ts';
import { startEmulator } from './emulator.ts';
import { machineSettings, machineToken } from './tokens.ts';

/** Runs the acceptance tests against the stack, deployed to the emulator. */
export const setup = (project: TestProject): Promise<() => Promise<void>> =>
  provideStack(project, { enforcePolicies: false });

/** Deploys the stack for the tests of a project, and takes all of it away when they are done. */
export async function provideStack(
  project: TestProject,
  { enforcePolicies }: { enforcePolicies: boolean },
): Promise<() => Promise<void>> {
  const receiverHost = outsideAddress();
  const settings = { ...receiverSettings(receiverHost), ...machineSettings };
  const emulator = await startEmulator({ enforcePolicies });
  const { endpoint, region, account, credentials, certificate, callsFile, poolKeysFolder } = emulator;
  try {
    await bootstrap(emulator);
    const { apiUrl, outputs } = await deploy(emulator, settings);
    const stack = { endpoint, region, account, credentials, certificate, callsFile, poolKeysFolder, outputs };
    project.provide('system', {
      apiUrl,
      token: await machineToken(stack, 'admin'),
      awsEndpoint: endpoint,
      region,
      credentials,
      certificate,
      busName: outputs['EventBusName'] ?? '',
      receiverHost,
      lacks: ['checks of PutEvents', 'numbers as they are written'],
    });
    project.provide('stack', stack);
    if (enforcePolicies) leaveForLater(stack);
  } catch (error) {
    await emulator[Symbol.asyncDispose]();
    throw error;
  }
  return async () => {
    await using _ = emulator;
    await cdk(emulator, ['destroy', '--force'], { settings });
  };
}
