import type { core } from 'zod';
import type { FieldError } from '../../shared/errors.ts';

/** A zod issue as errors of fields: `target.url`; of an unknown field its own name. */
export function toFieldErrors(issue: core.$ZodIssue): FieldError[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: [...path, key].join('.'), message: 'is not a known field' }));
  }
  // What zod says of a field that is not there is about types; the input itself is no part of an issue.
  const isMissing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  const message = isMissing ? 'is missing' : issue.message;
  // The path of a filter can begin with a name in brackets.
  return [{ field: path.join('.').replaceAll('.[', '[') || 'body', message }];
}
