import { z } from 'zod';

/** The settings of this script: `environment` in script.json. */
export const BalanceGuardEnv = z.object({
  ENFORCEMENT_URL: z
    .url({ protocol: /^https?$/u, error: 'must be an http:// or https:// URL' })
    .optional()
    .describe('Where decisions are posted; without it they are returned and nothing more'),
});
