import { fileURLToPath } from 'node:url';
import { Architecture, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogLevel, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs';

/** The absolute path of what is in the project. */
export const fromRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** What runs every function that is written in TypeScript, ours and a deployer's, and how it is bundled. */
export const typescript = {
  runtime: Runtime.NODEJS_24_X,
  architecture: Architecture.ARM_64,
  projectRoot: fromRoot(''),
  depsLockFilePath: fromRoot('package-lock.json'),
  bundling: {
    format: OutputFormat.ESM,
    logLevel: LogLevel.WARNING,
    target: 'node24',
    minify: true,
    // No source maps: reading them takes tens of milliseconds of every cold start, whether or not anything
    // fails. With the names kept, a stack trace still says which of our functions it went through.
    keepNames: true,
    sourceMap: false,
    // Every SDK client is bundled: the runtime's own copy is older, slower to load, and changes under us.
    externalModules: [],
    mainFields: ['module', 'main'],
    // Some dependencies are CommonJS and call require() for Node's modules, which an ES module does not have.
    banner:
      "import{createRequire as handoffCreateRequire}from'node:module';const require=handoffCreateRequire(import.meta.url);",
  },
};

/** What the functions that call targets have beside their own code: the process that transforms run in (shared/transforms/transform.ts), and its thread. */
export const transformProcess = {
  commandHooks: {
    beforeInstall: () => [],
    beforeBundling: () => [],
    afterBundling: (projectRoot: string, folder: string) => [
      [
        `"${projectRoot}/node_modules/.bin/esbuild"`,
        ...['process', 'worker'].map((part) => `"${fromRoot(`shared/transforms/transform-${part}.ts`)}"`),
        `--outdir="${folder}"`,
        '--out-extension:.js=.mjs --bundle --platform=node --format=esm --target=node24 --minify --log-level=warning',
      ].join(' '),
    ],
  },
};
