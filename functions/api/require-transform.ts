import { InvalidInputError } from '../../shared/errors.ts';
import type { Transforms } from '../../shared/transforms/transform.ts';
import type { HandlerInput } from '../../shared/handlers/handler.ts';

/**
 * Throws InvalidInputError when the transform cannot be used: it is not JSONata, or the target takes none.
 *
 * @param path of the handler in the request, as the caller wrote it, e.g. `handler.`
 */
export async function requireTransform(
  { target, transform }: Pick<HandlerInput, 'target' | 'transform'>,
  transforms: Pick<Transforms, 'check'>,
  path = '',
): Promise<void> {
  if (transform === null) return;
  const field = `${path}transform`;
  if (target.type !== 'http') {
    const message =
      'makes the body of a request, so it goes with an http target; a script gets the whole event';
    throw new InvalidInputError([{ field, message }]);
  }
  const problem = await transforms.check(transform);
  if (problem !== null) throw new InvalidInputError([{ field, message: `is not JSONata: ${problem}` }]);
}
