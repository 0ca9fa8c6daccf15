/**
 * Who may import whom (the folders are explained in CONTRIBUTING.md). Run through test/layers/check.ts, which
 * fails when nothing was read: a parser that cannot read the sources finds no violation either.
 *
 * @type {import('dependency-cruiser').IConfiguration}
 */
const pureCore =
  '^shared/(json-object|aws/queues|events/(envelope|format|json-text|provisioning)|filters/[^/]+|handlers/(handler|auth|plain-text)|executions/life-cycle|executions/retry-decision|delivery/outcome|delivery/signature)[.]ts$';

export default {
  forbidden: [
    {
      name: 'no-cycle',
      severity: 'error',
      comment: 'Two files that need each other are one file, or three.',
      from: {},
      to: { circular: true },
    },
    {
      name: 'nothing-unresolvable',
      severity: 'error',
      comment: 'The file or package is not there, or its name differs in case.',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'nothing-undeclared',
      severity: 'error',
      comment: 'A package that another one brought along can be gone tomorrow: name it in package.json.',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'shared-imports-nothing-above',
      severity: 'error',
      comment: 'shared/ is what the others build on.',
      from: { path: '^shared/' },
      to: { path: '^(functions|cdk|local|test|bench)/' },
    },
    {
      name: 'the-event-knows-nobody',
      severity: 'error',
      comment:
        'An event, its types, filters, bodies and secrets are there before anybody asks for it: whoever reads them meets neither handlers nor executions.',
      from: { path: '^shared/(aws|catalogue|events|filters|scripts|secrets|transforms)/' },
      to: { path: '^shared/(audit|dead-letters|delivery|executions|handlers)/' },
    },
    {
      name: 'functions-import-shared',
      severity: 'error',
      comment: 'A function is bundled and deployed: it has nothing but itself and shared/.',
      from: { path: '^functions/' },
      to: { path: '^(cdk|local|test|bench)/' },
    },
    {
      name: 'one-function-never-imports-another',
      severity: 'error',
      comment: 'What two functions need belongs into shared/.',
      from: { path: '^functions/(scripts/[^/]+|[^/]+)/' },
      to: { path: '^functions/', pathNot: '^functions/$1/' },
    },
    {
      name: 'cdk-imports-env-and-shapes',
      severity: 'error',
      comment:
        'The stack knows of the functions what they read from their environment, the shape of the tables and queues, what they publish as, and which scripts there are.',
      from: { path: '^cdk/' },
      to: {
        path: '^(functions|shared|local|test|bench)/',
        pathNot:
          '^(functions/(scripts/[^/]+|[^/]+)/env|shared/aws/(tables|queues)|shared/events/sources|shared/role|shared/scripts/find-scripts)[.]ts$',
      },
    },
    {
      name: 'local-runs-what-is-deployed',
      severity: 'error',
      comment: 'The engine calls the entry of a function, as Lambda does, and never what is behind it.',
      from: { path: '^local/' },
      to: {
        path: '^(functions|cdk|test|bench)/',
        pathNot: '^functions/(scripts/[^/]+|[^/]+)/lambda[.]ts$',
      },
    },
    {
      name: 'production-imports-no-development-tool',
      severity: 'error',
      comment: 'npm ci --omit=dev has to be enough to run the engine. Types are gone by then.',
      from: { path: '^(functions|shared|local)/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'the-core-is-pure',
      severity: 'error',
      comment: 'The rules of delivery are values in, values out: zod, node:crypto and each other.',
      from: { path: pureCore },
      to: {
        pathNot: [
          pureCore,
          '^shared/catalogue/catalogue[.]ts$',
          '(^|/)node_modules/zod/',
          '^(node:)?crypto$',
        ],
      },
    },
    {
      name: 'the-core-is-pure-but-for-names',
      severity: 'error',
      comment:
        'The handler schema needs the catalogue to check the names of event types, and the old body to call them by their old names.',
      from: { path: pureCore, pathNot: '^shared/(handlers/handler|events/provisioning)[.]ts$' },
      to: { path: '^shared/catalogue/catalogue[.]ts$' },
    },
    {
      name: 'aws-through-stores-and-services',
      severity: 'error',
      comment:
        'A function meets AWS in its services.ts and in the stores of shared/, so that the rest runs without.',
      from: { path: '^(functions|cdk)/', pathNot: '^functions/(scripts/[^/]+|[^/]+)/services[.]ts$' },
      to: { path: '(^|/)node_modules/@(aws-sdk|smithy)/' },
    },
  ],
  options: {
    // The TypeScript compiler of version 7 offers no parser to other programs; without this line every .ts
    // file is silently left out.
    parser: 'swc',
    // Tests and benchmarks may import everything, so they are not read either (its parser does not know `using`).
    doNotFollow: { path: '(node_modules|^test|^bench)/' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js', '.json', '.d.ts'],
      exportsFields: ['exports'],
      conditionNames: ['node', 'import', 'default', 'types'],
    },
  },
};
