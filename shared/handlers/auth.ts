import { z } from 'zod';

/** What a secret is read back as, and what keeps it when it is sent back. */
export const maskedSecret = '***';

/** Printable ASCII, as a header can carry it. */
const visible = (maxLength: number) =>
  z
    .string()
    .min(1, 'must not be empty')
    .max(maxLength, `must have at most ${maxLength} characters`)
    .refine((text) => /^[\x20-\x7e]*$/u.test(text), 'must be printable ASCII without line breaks');

const Secret = visible(4096).describe('Write-only: read back as "***", which keeps it when it is sent back');

/**
 * How a target is told who calls.
 *
 * @param TokenUrl the schema of a URL that may be called
 */
export const authSchema = <TokenUrl extends z.ZodType<string>>(
  TokenUrl: TokenUrl,
  HeaderName: z.ZodType<string>,
) =>
  z.discriminatedUnion(
    'type',
    [
      z.strictObject({
        type: z.literal('basic'),
        // RFC 7617: the colon ends it.
        username: visible(256).refine((name) => !name.includes(':'), 'must not contain a colon'),
        password: Secret,
      }),
      z.strictObject({
        type: z.literal('bearer'),
        // RFC 6750, 2.1.
        token: Secret.refine(
          (token) => token === maskedSecret || /^[\w.~+/-]+=*$/u.test(token),
          'must be a token: letters, digits and -._~+/=',
        ),
      }),
      z.strictObject({ type: z.literal('header'), name: HeaderName, value: Secret }),
      z.strictObject({
        type: z.literal('oauth2'),
        tokenUrl: TokenUrl,
        clientId: visible(512),
        clientSecret: Secret,
        scope: visible(1024).optional(),
      }),
    ],
    {
      error: ({ code }) =>
        code === 'invalid_union' ? 'must be "basic", "bearer", "header" or "oauth2"' : undefined,
    },
  );
export type Auth = z.output<ReturnType<typeof authSchema<z.ZodString>>>;

/** The secret in it. */
export function secretOf(auth: Auth): string {
  switch (auth.type) {
    case 'basic':
      return auth.password;
    case 'bearer':
      return auth.token;
    case 'header':
      return auth.value;
    case 'oauth2':
      return auth.clientSecret;
    default:
      return auth satisfies never;
  }
}

/** The same with another secret in it, or with none that could be read. */
export function withSecret(auth: Auth, secret: string = maskedSecret): Auth {
  switch (auth.type) {
    case 'basic':
      return { ...auth, password: secret };
    case 'bearer':
      return { ...auth, token: secret };
    case 'header':
      return { ...auth, value: secret };
    case 'oauth2':
      return { ...auth, clientSecret: secret };
    default:
      return auth satisfies never;
  }
}
