import type { TestProject } from 'vitest/node';
import { startDynamoDbLocal } from '../support/dynamodb-local.ts';
import { MissingToolError } from '../support/maven.ts';

declare module 'vitest' {
  // oxlint-disable-next-line typescript/consistent-type-definitions -- vitest's own interface is extended
  interface ProvidedContext {
    /** Where `startTestDynamo` makes its tables; without it, in an embedded DynamoDB of its own. */
    dynamoDbLocal?: { endpoint: string };
  }
}

/** Runs the tests that use tables on DynamoDB Local. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { endpoint, end } = await startDynamoDbLocal().catch((error: unknown) => {
    if (!(error instanceof MissingToolError)) throw error;
    // vitest would say first that it found no tests, and then show a stack.
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  project.provide('dynamoDbLocal', { endpoint });
  return end;
}
