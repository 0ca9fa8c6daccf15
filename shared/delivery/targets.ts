import type { z } from 'zod';
import { createLambda } from '../aws/clients.ts';
import type { sharedEnv } from '../env.ts';
import { createTransforms } from '../transforms/transform.ts';
import { createAddressGuard } from './address-guard.ts';
import { createAgent } from './agent.ts';
import { createTokens } from './oauth.ts';
import type { InvokeServices } from './invoke.ts';

type TargetEnv = {
  [Name in 'ALLOW_CIDRS' | 'ALLOW_HTTP' | 'SCRIPTS' | 'SCRIPT_FUNCTION_PREFIX']: z.output<
    (typeof sharedEnv)[Name]
  >;
} & { AWS_LAMBDA_RUNTIME_API?: string | undefined };

/** Opens the way to the targets of a function that calls them: the address guard, the connections, Lambda. */
export function openTargets(env: TargetEnv, now: () => Date): InvokeServices {
  const guard = createAddressGuard({
    allowCidrs: env.ALLOW_CIDRS,
    // The runtime's own API listens on Lambda's loopback. AWS sets this variable and reserves its name.
    allowLoopback: env.AWS_LAMBDA_RUNTIME_API === undefined,
  });
  const agent = createAgent(guard);
  return {
    agent,
    tokens: createTokens({ agent, now }),
    transforms: createTransforms(),
    guard,
    allowHttp: env.ALLOW_HTTP,
    lambda: createLambda(),
    scripts: new Set(env.SCRIPTS),
    scriptFunctionPrefix: env.SCRIPT_FUNCTION_PREFIX,
    now,
  };
}
