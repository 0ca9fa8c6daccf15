import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `extends: true` hands the settings at the root on to both projects.
const shared = { extends: true } as const;

// What is deployed to the emulator waits for it more than it works.
const onEmulator = availableParallelism() + 1;

// The file that .ci/run counts the tests in.
const resultsFile = process.env['HANDOFF_TEST_RESULTS'];

export default defineConfig({
  test: {
    pool: 'threads',
    // vitest would leave a processor to itself, which is half of a small machine.
    maxWorkers: availableParallelism(),
    reporters: resultsFile === undefined ? ['default'] : ['default', ['json', { outputFile: resultsFile }]],
    unstubEnvs: true,
    restoreMocks: true,
    coverage: {
      provider: 'v8',
      include: ['cdk/**/*.ts', 'functions/**/*.ts', 'shared/**/*.ts', 'local/**/*.ts'],
    },
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['test/*.test.ts', 'test/{shared,functions,cdk,local,support,docs}/**/*.test.ts'],
          // Nothing here sleeps; what takes longer hangs. The margin is for a laptop that compiles beside it.
          testTimeout: 20_000,
          hookTimeout: 30_000,
        },
      },
      {
        ...shared,
        test: {
          // From outside, through HTTP and the AWS SDK alone.
          name: 'acceptance',
          include: ['test/acceptance/**/*.test.ts'],
          globalSetup: 'test/acceptance/engine.setup.ts',
          testTimeout: 30_000,
        },
      },
      {
        ...shared,
        test: {
          // The same tests against the stack, deployed to an AWS emulator. A function that is called for the first time has to
          // start, so all of it takes longer there.
          name: 'stack',
          include: ['test/acceptance/**/*.test.ts'],
          globalSetup: 'test/e2e/stack.setup.ts',
          testTimeout: 60_000,
          maxWorkers: onEmulator,
        },
      },
      {
        ...shared,
        test: {
          // And once more with the permissions of each function enforced.
          name: 'stack-with-policies',
          include: ['test/acceptance/**/*.test.ts', 'test/e2e/{audit,callers,sweeper}.test.ts'],
          globalSetup: 'test/e2e/stack-with-policies.setup.ts',
          testTimeout: 60_000,
          maxWorkers: onEmulator,
        },
      },
      {
        ...shared,
        test: {
          // What the run before it has called, against what its roles may call.
          name: 'policies',
          include: ['test/e2e/policies.test.ts'],
          sequence: { groupOrder: 1 },
        },
      },
      {
        ...shared,
        test: {
          // What happens to a deployment over time, and by its settings.
          name: 'deploy',
          include: ['test/e2e/deploy.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          maxWorkers: onEmulator,
        },
      },
      {
        ...shared,
        test: {
          // Engines as child processes, killed and started again.
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          exclude: ['test/faults/crash-points*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          // Killed before and after every single step. That takes minutes, so it is no part of `npm test`.
          name: 'crash',
          include: ['test/faults/crash-points*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          // What holds however much there is. It takes its time to make that much.
          name: 'scale',
          include: ['test/scale/**/*.test.ts'],
          testTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          // Requests that are made up from the API's own description.
          name: 'fuzz',
          include: ['test/fuzz/**/*.test.ts'],
          // As many as HANDOFF_FUZZ_EXAMPLES says take as long as they take.
          testTimeout: 1_800_000,
          // Python's packages are installed meanwhile.
          hookTimeout: 300_000,
        },
      },
      {
        ...shared,
        test: {
          // Event patterns beside AWS's own matcher of them.
          name: 'filters',
          include: ['test/filters/**/*.test.ts'],
          testTimeout: 120_000,
        },
      },
      {
        ...shared,
        test: {
          // What `npm test` runs on the embedded DynamoDB, on the one that AWS hands out. The excluded use no tables.
          name: 'dynamodb-local',
          include: [
            'test/support/dynamo.test.ts',
            'test/shared/{audit,dead-letters,events,executions,handlers,secrets}/**/*.test.ts',
            'test/functions/{api,dispatcher,retrier,sweeper}/**/*.test.ts',
          ],
          exclude: [
            'test/shared/events/{balance,bodies,decimal,envelope,format,json-text,packed-text,publish,redaction}.test.ts',
            'test/shared/executions/{key,life-cycle,recovery,retry-decision,settle}.test.ts',
            'test/shared/handlers/handler.test.ts',
            'test/shared/secrets/secret-envelope.test.ts',
            'test/functions/api/merge-patch.test.ts',
          ],
          globalSetup: 'test/dynamodb-local/server.setup.ts',
          testTimeout: 20_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
});
