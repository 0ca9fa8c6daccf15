import type { InvokeServices } from '../../shared/delivery/invoke.ts';
import { targetUrlProblem } from '../../shared/delivery/target-url.ts';
import { InvalidInputError } from '../../shared/errors.ts';
import type { Target } from '../../shared/handlers/handler.ts';

/**
 * Throws InvalidInputError when this deployment cannot call the target: by its settings, or because it has no such script.
 *
 * @param path of the handler in the request, as the caller wrote it, e.g. `handler.`
 */
export function requireTarget(
  target: Target,
  targets: Pick<InvokeServices, 'allowHttp' | 'guard' | 'scripts'>,
  path = '',
): void {
  switch (target.type) {
    case 'http': {
      const problem = targetUrlProblem(target.url, targets);
      const tokenUrl = target.auth?.type === 'oauth2' ? target.auth.tokenUrl : null;
      const tokenProblem = tokenUrl === null ? null : targetUrlProblem(tokenUrl, targets);
      const fields = [
        ...(problem === null ? [] : [{ field: `${path}target.url`, message: problem }]),
        ...(tokenProblem === null ? [] : [{ field: `${path}target.auth.tokenUrl`, message: tokenProblem }]),
      ];
      if (fields.length > 0) throw new InvalidInputError(fields);
      return;
    }
    case 'script': {
      if (targets.scripts.has(target.script)) return;
      const known = [...targets.scripts].toSorted().join(', ');
      const message = `there is no script "${target.script}" in this deployment; ${known === '' ? 'it has none' : `there are ${known}`}`;
      throw new InvalidInputError([{ field: `${path}target.script`, message }]);
    }
    default:
      target satisfies never;
  }
}
