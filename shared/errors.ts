/** One thing wrong with what a caller sent: the field as the caller wrote it (`target.url`), and a sentence. */
export type FieldError = { field: string; message: string };

/** The caller sent something that cannot be. The API answers 400 and lists every field. */
export class InvalidInputError extends Error {
  override name = 'InvalidInputError' as const;
  readonly fields: readonly FieldError[];

  constructor(fields: readonly FieldError[], options?: ErrorOptions) {
    super(fields.map(({ field, message }) => `${field}: ${message}`).join('; '), options);
    this.fields = fields;
  }
}

/** The token of the caller is good, and not one for the API. The API answers 401. */
export class InvalidTokenError extends Error {
  override name = 'InvalidTokenError' as const;
}

/** The caller is known, and may not do this. The API answers 403. */
export class ForbiddenError extends Error {
  override name = 'ForbiddenError' as const;
  /** What the caller's token would have to have. */
  readonly scope: string;

  constructor(message: string, scope: string) {
    super(message);
    this.scope = scope;
  }
}

/** The thing that the caller named does not exist. The API answers 404. */
export class NotFoundError extends Error {
  override name = 'NotFoundError' as const;
  readonly kind: string;
  readonly id: string;

  constructor(kind: string, id: string) {
    super(`There is no ${kind} "${id}".`);
    this.kind = kind;
    this.id = id;
  }
}

/**
 * What the caller asked for does not fit what is stored now. `version`: it changed since the caller read it
 * (412); `state`: it is in a state in which this cannot be done (409).
 */
export class ConflictError extends Error {
  override name = 'ConflictError' as const;
  readonly reason: 'version' | 'state';

  constructor(reason: 'version' | 'state', message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** What the caller sent is larger than what can be taken. The API answers 413. */
export class TooLargeError extends Error {
  override name = 'TooLargeError' as const;
  readonly what: string;
  readonly maxBytes: number;

  /** @param what as the sentence to the caller names it: `body`, `event` */
  constructor(what: string, maxBytes: number) {
    super(`The ${what} has more than ${maxBytes} bytes.`);
    this.what = what;
    this.maxBytes = maxBytes;
  }
}
