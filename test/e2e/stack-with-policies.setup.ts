import type { TestProject } from 'vitest/node';
import { provideStack } from './stack.setup.ts';

/** The same with every call held against the policies of its caller, as in AWS. */
export const setup = (project: TestProject): Promise<() => Promise<void>> =>
  provideStack(project, { enforcePolicies: true });
