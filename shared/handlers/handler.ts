import { z } from 'zod';
import { eventPatternForm, eventPatternProblem } from '../catalogue/catalogue.ts';
import { payloadFormats } from '../events/format.ts';
import { compileFilter, filterPath, type Filter } from '../filters/filter.ts';
import { authSchema } from './auth.ts';
import { line, lines } from './plain-text.ts';

/** The longest that a script may run, milliseconds. Its Lambda gets a little more. */
export const maxScriptTimeoutMs = 120_000;

/** The longest JSONata expression. It is kept with every execution that it made the body of. */
const maxTransformLength = 8192;

const EventPattern = z
  .string()
  .superRefine((pattern, context) => {
    const problem = eventPatternProblem(pattern);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  })
  .meta({
    description: 'An event type, a prefix such as client.*, or * (everything but handoff.*)',
    ...eventPatternForm,
  });

// Headers that Handoff or HTTP itself sets (with all that begin with `webhook-`, which are Standard Webhooks'), and those that
// would be secrets in plain text.
const reservedHeaders = new Set([
  'connection',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'traceparent',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
]);
const isReserved = (lowerCase: string): boolean =>
  reservedHeaders.has(lowerCase) || lowerCase.startsWith('webhook-');
// No accident, and a trap for whoever keeps headers in an object.
const prototypeNames = new Set(['__proto__', 'constructor', 'prototype']);
const credentialHeaders = new Set(['authorization', 'cookie', 'proxy-authorization']);

// They are kept with every execution, beside an event of up to 256 KB, in an item of at most 400 KB. Few
// servers take more than this in one request anyway.
const maxHeadersBytes = 16_384;

const Headers = z
  .record(z.string(), z.string())
  .superRefine((headers, context) => {
    const entries = Object.entries(headers);
    if (entries.length > 50) context.addIssue({ code: 'custom', message: 'at most 50 headers' });
    const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    if (bytes > maxHeadersBytes) {
      context.addIssue({
        code: 'custom',
        message: `at most ${maxHeadersBytes} bytes, names and values together`,
      });
    }
    const seen = new Set<string>();
    for (const [name, value] of entries) {
      const problem = headerProblem(name, value, seen);
      if (problem !== null) context.addIssue({ code: 'custom', path: [name], message: problem });
      seen.add(name.toLowerCase());
    }
  })
  .describe('Headers to send beside those of Handoff');

// RFC 9110, 5.6.2 (token).
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/u;

const isHeaderName = (name: string): boolean =>
  headerName.test(name) && !prototypeNames.has(name.toLowerCase());

function headerProblem(name: string, value: string, seen: ReadonlySet<string>): string | null {
  const lowerCase = name.toLowerCase();
  // RFC 9110, 5.5 (field values). Printable ASCII only: anything else is read differently by each receiver.
  if (!isHeaderName(name)) return 'is not a header name';
  if (seen.has(lowerCase)) return 'stands there twice';
  if (isReserved(lowerCase)) return 'is set by Handoff itself';
  if (credentialHeaders.has(lowerCase)) return 'is a credential; those belong into target.auth';
  if (value.length > 4096) return 'must have at most 4096 characters';
  if (!/^[\x20-\x7e\t]*$/u.test(value)) return 'must be printable ASCII without line breaks';
  return null;
}

const AuthHeaderName = z
  .string()
  .superRefine((name, context) => {
    if (isReserved(name.toLowerCase()))
      context.addIssue({ code: 'custom', message: 'is set by Handoff itself' });
    else if (!isHeaderName(name)) context.addIssue({ code: 'custom', message: 'is not a header name' });
  })
  .describe('The header that carries the value');

const TargetUrl = z
  .string()
  .max(2048, 'must have at most 2048 characters')
  .superRefine((text, context) => {
    const problem = urlProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  })
  .describe('https:// (http:// where the deployment allows it)');

function urlProblem(text: string): string | null {
  // The URL parser takes line breaks out without a word.
  if (/[\s\p{Cc}]/u.test(text)) return 'must not contain spaces or control characters';
  // `120.0.0.1:5000/api` and `crm.example/hook`, as old configurations have them. `localhost:80` would
  // parse as a URL with the scheme "localhost".
  if (!/^[a-z][a-z0-9+.-]*:\/\//iu.test(text)) {
    if (/^[a-z]+:(?!\d)/iu.test(text)) return 'must begin with https:// or http://';
    const proposal = `http:${text.startsWith('//') ? '' : '//'}${text}`;
    return /^http:\/\/[^/]/u.test(proposal) && URL.canParse(proposal)
      ? `has no scheme; did you mean "${proposal}"? Plain HTTP needs the setting allowHttp (HANDOFF_ALLOW_HTTP=true on one machine)`
      : 'is not a URL';
  }
  if (!URL.canParse(text)) return 'is not a URL';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https:// or http://';
  if (url.username !== '' || url.password !== '') return 'must not contain a user name or password';
  if (url.port === '0') return 'must not have the port 0: nothing can listen there';
  if (url.hash !== '') return 'must not contain a fragment (#)';
  return null;
}

/** An HTTP endpoint that receives the event as a Standard Webhooks delivery. */
const HttpTarget = z.strictObject({
  type: z.literal('http'),
  url: TargetUrl,
  method: z.enum(['POST', 'PUT', 'PATCH']).default('POST'),
  headers: Headers.default({}),
  auth: authSchema(TargetUrl, AuthHeaderName)
    .nullable()
    .default(null)
    .describe('How the target is told who calls'),
  format: z
    .enum(payloadFormats)
    .default('standard')
    .describe(
      'The body: of Standard Webhooks, the EventBridge event as it came, CloudEvents 1.0 (structured), or that of the old Provisioning API',
    ),
  timeoutMs: z
    .int()
    .min(100)
    .max(30_000)
    .default(10_000)
    .describe('From connecting to the status line, milliseconds'),
});
export type HttpTarget = z.output<typeof HttpTarget>;

/** A script of the deployment: a folder under functions/scripts/, deployed as a Lambda of its own. */
const ScriptTarget = z.strictObject({
  type: z.literal('script'),
  script: z
    .string()
    .min(1, 'must name a script')
    .max(64, 'must have at most 64 characters')
    .describe('Its name, as GET /v1/scripts lists it'),
  timeoutMs: z
    .int()
    .min(100)
    .max(maxScriptTimeoutMs)
    .default(30_000)
    .describe('From the call to the end of the script, milliseconds'),
});
export type ScriptTarget = z.output<typeof ScriptTarget>;

const Target = z.discriminatedUnion('type', [HttpTarget, ScriptTarget], {
  error: ({ code }) => (code === 'invalid_union' ? 'must be "http" or "script"' : undefined),
});
export type Target = z.output<typeof Target>;

const aboutFilters =
  'An EventBridge event pattern, held against the whole event. Numbers as exact values are compared as they are written. At most 16,384 characters, 50 levels, 1,000 combinations of $or and 100 wildcards';

/** An EventBridge event pattern. The path of an error is one step: `detail.items[0].prefix`. */
export const EventFilter = z
  .custom<Filter>(() => true)
  .superRefine((pattern, context) => {
    const compiled = compileFilter(pattern);
    if (compiled.ok) return;
    for (const { path, message } of compiled.faults)
      context.addIssue({ code: 'custom', path: path.length === 0 ? [] : [filterPath(path)], message });
  })
  .meta({ type: 'object', description: aboutFilters });

const secondsPerDay = 86_400;
const maxWaits = 50;
const maxWaitSeconds = 7 * secondsPerDay;
const maxScheduleDays = 30;

const isWait = (wait: unknown): boolean => typeof wait === 'number' && wait >= 1 && wait <= maxWaitSeconds;

// Not `z.number()`: an element of another type would make zod blame the whole list, not the element.
const Wait = z
  .custom<number>(isWait, {
    error: `must be a wait of 1 to ${maxWaitSeconds} seconds (7 days)`,
    abort: false,
  })
  .meta({ type: 'number', minimum: 1, maximum: maxWaitSeconds });

const RetrySchedule = z
  .union([z.enum(['default', 'none']), z.array(Wait).max(maxWaits)], {
    // A list that is too long is not read at all, or each of its elements would be complained about.
    error: ({ input }) =>
      Array.isArray(input)
        ? `at most ${maxWaits} waits`
        : 'must be "default", "none" or a list of waits in seconds',
  })
  .superRefine((schedule, context) => {
    if (typeof schedule === 'string') return;
    const seconds = schedule.filter(isWait).reduce((sum, wait) => sum + wait, 0);
    if (seconds > maxScheduleDays * secondsPerDay) {
      context.addIssue({
        code: 'custom',
        message: `all waits together may take at most ${maxScheduleDays} days`,
      });
    }
  })
  .describe(
    `When a failed attempt is repeated: n waits in seconds are n + 1 attempts, so an empty list is the same as "none". At most ${maxWaits} waits of ${maxScheduleDays} days together`,
  );
export type RetrySchedule = z.output<typeof RetrySchedule>;

const RateLimit = z
  .strictObject({
    perSecond: z.number().min(0.01).max(1000).describe('Calls a second; 0.01 is one in 100 seconds'),
  })
  .describe('How many calls a second the target gets, later attempts among them. null: no limit');
export type RateLimit = z.output<typeof RateLimit>;

export const HandlerStatus = z.enum(['enabled', 'disabled', 'archived']);
export type HandlerStatus = z.output<typeof HandlerStatus>;

/** What a caller may say about a handler; everything but `name`, `events` and `target` has a default. */
export const HandlerInput = z.strictObject({
  name: line(200).describe('For people, one line; need not be unique'),
  description: lines(10_000).default('').describe('For people, with line breaks where they help'),
  events: z
    .array(EventPattern)
    .min(1, 'name at least one event type')
    .max(100, 'at most 100 event types')
    .refine((events) => new Set(events).size === events.length, 'an event type stands there twice')
    .meta({ description: 'The event types that it runs for', uniqueItems: true }),
  filter: EventFilter.nullable()
    .default(null)
    .meta({ type: ['object', 'null'], description: `Which of these events; null: all. ${aboutFilters}` }),
  transform: z
    .string()
    .min(1, 'must not be empty')
    .max(maxTransformLength, `must have at most ${maxTransformLength} characters`)
    .refine((expression) => expression.isWellFormed(), 'must not have half surrogates')
    .nullable()
    .default(null)
    .describe(
      'JSONata over the whole event, whose result is the body; for http targets. null: the body is that of the format',
    ),
  target: Target.describe('What it calls'),
  status: HandlerStatus.default('enabled').describe(
    'disabled: does not run, and what it misses is held; archived: out, hidden from lists, nothing recorded',
  ),
  priority: z.int().min(1).max(1000).default(100).describe('1 runs first'),
  onFailure: z
    .enum(['continue', 'halt'])
    .default('continue')
    .describe(
      'halt: handlers of a later priority wait, for each event, until this one has succeeded with it',
    ),
  retry: z.strictObject({ schedule: RetrySchedule.default('default') }).default({ schedule: 'default' }),
  rateLimit: RateLimit.nullable().default(null),
});
export type HandlerInput = z.output<typeof HandlerInput>;

/** A registered reaction: which events, one target, a priority, a status. */
export const Handler = HandlerInput.extend({
  id: z.string().describe('h_ and 16 characters'),
  version: z.int().describe('Raised by every change; the ETag'),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime().describe('When its version was raised'),
});
export type Handler = z.output<typeof Handler>;
