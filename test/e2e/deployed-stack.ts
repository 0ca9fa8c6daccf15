import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { Emulator } from './emulator.ts';

/** Where a stack was deployed for tests that look behind its API and its bus. */
export type DeployedStack = Pick<
  Emulator,
  'endpoint' | 'region' | 'account' | 'credentials' | 'certificate' | 'poolKeysFolder'
> & {
  outputs: Record<string, string>;
  /** The calls of its functions, and of everybody else. */
  callsFile: string;
};

declare module 'vitest' {
  // oxlint-disable-next-line typescript/consistent-type-definitions -- vitest's own interface is extended
  interface ProvidedContext {
    stack: DeployedStack;
  }
}

// What one project of vitest provides, the next one does not have: that one runs with this variable.
const variable = 'HANDOFF_DEPLOYED_STACK';

/** Lets the projects that run later in this process know of the stack. */
export function leaveForLater(stack: DeployedStack): void {
  process.env[variable] = JSON.stringify(stack);
}

/** The stack that an earlier project has left. Throws an Error when there is none. */
export function leftByEarlier(): DeployedStack {
  const stack = process.env[variable];
  if (stack === undefined) throw new Error('Run it with the project before it: npm run e2e');
  return JSON.parse(stack) as DeployedStack;
}

/** What a client of AWS needs to reach the emulator. */
export function clientOf({
  endpoint,
  region,
  credentials,
  certificate,
}: Pick<DeployedStack, 'endpoint' | 'region' | 'credentials' | 'certificate'>) {
  if (certificate !== null) setDefaultCACertificates([...getCACertificates('default'), certificate]);
  return { endpoint, region, credentials };
}
