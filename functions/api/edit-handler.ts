import { setTimeout as delay } from 'node:timers/promises';
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Actor, AuditedAction } from '../../shared/audit/change.ts';
import { newSigningSecret } from '../../shared/delivery/signature.ts';
import { ConflictError, InvalidInputError, type FieldError } from '../../shared/errors.ts';
import { HandlerInput, type Handler, type HandlerStatus } from '../../shared/handlers/handler.ts';
import { sealSecret } from '../../shared/secrets/secret-envelope.ts';
import type { StoredHandler } from '../../shared/handlers/store.ts';
import { requireVersion } from './etag.ts';
import { toFieldErrors } from './field-errors.ts';
import { mergePatch } from './merge-patch.ts';
import { requireTarget } from './require-target.ts';
import { requireTransform } from './require-transform.ts';
import type { Services } from './services.ts';
import { sealTarget } from './target-secret.ts';

// An edit without If-Match is applied to whatever is stored. Others may slip in between: the pause, at random from 0 to
// 50 ms, lets twenty that come at once through.
const maxTries = 20;
const maxPauseMs = 50;

/** How long a secret signs on that a rotation has replaced. */
const overlapMs = 24 * 3_600_000;
// Each is another signature on every delivery.
const maxRetiredSecrets = 4;

// Every environment keeps all of them in memory, and reads all of them once a minute.
const maxHandlers = 1000;
const maxWithArchived = 5000;

/** An edit of a stored handler, who makes it, and the versions that its caller wants it to be at (`If-Match`). */
type Edit = { id: string; by: Actor; ifMatch?: string | undefined };

/** Every way in which a handler is changed through the API. Each edit is written against the version that was read. */
export function createHandlerEditor({
  handlers,
  audit,
  dataKey,
  now,
  targets,
}: Pick<Services, 'handlers' | 'audit' | 'dataKey' | 'now' | 'targets'>) {
  /**
   * Registers a handler, and shows this once the secret that signs its deliveries. A handler of a script has one too: a
   * later edit may give it another type of target.
   */
  async function create(input: HandlerInput, by: Actor): Promise<{ handler: Handler; secret: string }> {
    requireTarget(input.target, targets);
    await requireTransform(input, targets.transforms);
    await requireRoom(input.status, 1);
    const secret = newSigningSecret();
    const createdAt = now().toISOString();
    const id = `h_${randomBytes(12).toString('base64url')}`;
    const { input: masked, sealedAuth } = await sealTarget(input, { id, dataKey });
    const handler: Handler = {
      id,
      ...masked,
      version: 1,
      createdAt,
      updatedAt: createdAt,
    };
    const stored = {
      handler,
      sealedSecrets: [sealSecret(await dataKey(), id, secret)],
      ...(sealedAuth !== undefined && { sealedAuth }),
    };
    await audit.record(by, { action: 'handler.create', subject: id, before: null, after: handler }, () =>
      handlers.create(stored),
    );
    return { handler, secret };
  }

  /**
   * Throws ConflictError when there are as many handlers as there may be. Some that come at once may all find the last place free: the
   * limit keeps what is read bounded, and is no promise to the handler.
   *
   * @param added how many come, beside those that are stored; what comes out of the archive was there
   */
  async function requireRoom(status: HandlerStatus, added: 0 | 1): Promise<void> {
    const { all, archived } = await handlers.count();
    if (all + added > maxWithArchived) {
      throw new ConflictError(
        'state',
        `There are ${all} handlers, archived ones among them, and at most ${maxWithArchived} may be. Delete some that nobody needs.`,
      );
    }
    if (status !== 'archived' && all - archived >= maxHandlers) {
      throw new ConflictError(
        'state',
        `There are ${all - archived} handlers, and at most ${maxHandlers} may be that are not archived. Archive or delete some.`,
      );
    }
  }

  async function replace({ input, ...edit }: Edit & { input: HandlerInput }): Promise<Handler> {
    requireTarget(input.target, targets);
    await requireTransform(input, targets.transforms);
    return change(edit, 'handler.edit', () => input);
  }

  /** @param changes a JSON Merge Patch; another `target.type` replaces the target, and a filter the filter */
  const patch = ({ changes, ...edit }: Edit & { changes: Record<string, unknown> }): Promise<Handler> =>
    change(edit, 'handler.edit', async (current) => {
      const input = applyPatch(current, changes);
      requireTarget(input.target, targets);
      await requireTransform(input, targets.transforms);
      return input;
    });

  /** Flips the status. Whether the target may still be called is not asked: stopping a handler must always work. */
  const setStatus = ({ status, ...edit }: Edit & { status: 'enabled' | 'disabled' }): Promise<Handler> =>
    change(edit, status === 'enabled' ? 'handler.enable' : 'handler.disable', (current) => {
      if (current.status === 'archived') {
        throw new ConflictError(
          'state',
          `The handler ${current.id} is archived; PATCH it with a "status" to bring it back.`,
        );
      }
      return { ...inputOf(current), status };
    });

  /**
   * Gives a handler a new signing secret, and shows it this once. The one before keeps signing beside it for 24 hours, so that a receiver
   * can be changed in between.
   */
  const rotateSecret = ({ by, ...edit }: Edit): Promise<{ handler: Handler; secret: string }> =>
    writeOver(edit, async (stored) => {
      const at = now();
      const until = new Date(at.getTime() + overlapMs).toISOString();
      const retired = (stored.retiredSecrets ?? []).filter((other) => other.until > at.toISOString());
      if (retired.length >= maxRetiredSecrets) {
        throw new ConflictError(
          'state',
          `The secret was rotated ${maxRetiredSecrets} times in the last 24 hours, and all of those sign still.`,
        );
      }
      const secret = newSigningSecret();
      const { handler: current } = stored;
      const handler = { ...current, version: current.version + 1, updatedAt: at.toISOString() };
      const renewed = {
        ...stored,
        handler,
        sealedSecrets: [sealSecret(await dataKey(), current.id, secret)],
        retiredSecrets: [...stored.sealedSecrets.map((sealed) => ({ sealed, until })), ...retired],
      };
      const rotation = { subject: current.id, before: current, after: handler };
      await audit.record(by, { action: 'handler.rotate-secret', ...rotation }, () =>
        handlers.replace(renewed, current.version),
      );
      return { handler, secret };
    });

  const remove = ({ by, ...edit }: Edit): Promise<void> =>
    writeOver(edit, ({ handler }) =>
      audit.record(by, { action: 'handler.delete', subject: handler.id, before: handler, after: null }, () =>
        handlers.remove(handler.id, handler.version),
      ),
    );

  /** Applies a change to a handler, and raises its version. */
  const change = (
    { by, ...edit }: Edit,
    action: AuditedAction,
    apply: (current: Handler) => HandlerInput | Promise<HandlerInput>,
  ): Promise<Handler> =>
    writeOver(edit, async (stored) => {
      const { handler: current, sealedSecrets, retiredSecrets = [], disabledBecause, targetVersion } = stored;
      const applied = await apply(current);
      if (current.status === 'archived' && applied.status !== 'archived')
        await requireRoom(applied.status, 0);
      const { input, sealedAuth } = await sealTarget(applied, { id: current.id, dataKey, stored });
      const handler: Handler = {
        ...input,
        id: current.id,
        version: current.version + 1,
        createdAt: current.createdAt,
        updatedAt: now().toISOString(),
      };
      // An edit of a handler that is disabled leaves it so, and the reason with it.
      const isStillDisabled = handler.status === 'disabled' && current.status === 'disabled';
      // What was found out about another target, or before a person said that it is well again, does not count.
      const isNewTarget =
        !isDeepStrictEqual(handler.target, current.target) ||
        sealedAuth !== stored.sealedAuth ||
        (handler.status === 'enabled' && current.status !== 'enabled');
      const changed = {
        handler,
        sealedSecrets,
        retiredSecrets,
        ...(sealedAuth !== undefined && { sealedAuth }),
        ...(isStillDisabled && disabledBecause !== undefined && { disabledBecause }),
        ...(isNewTarget
          ? { targetVersion: handler.version }
          : targetVersion !== undefined && { targetVersion }),
      };
      await audit.record(by, { action, subject: current.id, before: current, after: handler }, () =>
        handlers.replace(changed, current.version),
      );
      return handler;
    });

  /** Reads a handler and writes against the version that was read; again, if another write came between. */
  async function writeOver<Result>(
    { id, ifMatch }: Omit<Edit, 'by'>,
    write: (stored: StoredHandler) => Promise<Result>,
  ): Promise<Result> {
    for (let tries = 1; ; tries++) {
      const stored = await handlers.get(id);
      requireVersion(stored.handler, ifMatch);
      try {
        return await write(stored);
      } catch (error) {
        const isOvertaken = error instanceof ConflictError && error.reason === 'version';
        if (!isOvertaken || ifMatch !== undefined) throw error;
        if (tries >= maxTries) {
          throw new ConflictError('state', 'The handler is being changed by too many at once.', {
            cause: error,
          });
        }
        await delay(Math.random() * maxPauseMs);
      }
    }
  }

  return { create, replace, patch, setStatus, rotateSecret, remove };
}

function applyPatch(current: Handler, changes: Record<string, unknown>): HandlerInput {
  const input = inputOf(current);
  const changed = changes['target'] as
    | { type?: unknown; auth?: { type?: unknown } | null }
    | null
    | undefined;
  const isOtherTarget = isOtherType(changed, current.target);
  const unknown = [
    ...unknownRemovals(changes, HandlerInput.shape),
    ...(isOtherTarget ? [] : unknownRemovals(changes['target'], current.target, 'target.')),
  ];
  if (unknown.length > 0) throw new InvalidInputError(unknown);
  let target: Partial<HandlerInput['target']> = isOtherTarget ? {} : input.target;
  // What another type has no use for would stay, a secret among it.
  if ('auth' in target && isOtherType(changed?.auth, target.auth)) target = { ...target, auth: null };
  const { filter = null, ...others } = changes;
  const merged = mergePatch({ ...input, target }, others) as Record<string, unknown>;
  // Two filters that are merged are a third one, which nobody has written. A filter is replaced as a whole.
  const parsed = HandlerInput.safeParse({ ...merged, ...('filter' in changes && { filter }) });
  if (!parsed.success) throw new InvalidInputError(parsed.error.issues.flatMap(toFieldErrors));
  return parsed.data;
}

const isOtherType = (
  changed: { type?: unknown } | null | undefined,
  current: { type?: unknown } | null,
): boolean => changed?.type !== undefined && changed.type !== current?.type;

// What a patch removes is gone before the schema could say that there is no such field.
const unknownRemovals = (changes: unknown, known: object, prefix = ''): FieldError[] =>
  Object.entries(changes ?? {})
    .filter(([key, value]) => value === null && !Object.hasOwn(known, key))
    .map(([key]) => ({ field: `${prefix}${key}`, message: 'is not a known field' }));

function inputOf(handler: Handler): HandlerInput {
  const { id: _id, version: _version, createdAt: _createdAt, updatedAt: _updatedAt, ...input } = handler;
  return input;
}
