// Imports nothing: a process has to start with it while somebody waits.

/** How long an expression may run, milliseconds. Those that do their work take a few, and a processor may be shared with much else. */
export const maxTransformMs = 1000;

/** How large a body may be that an expression gives, bytes of UTF-8: as large as the largest event. */
export const maxTransformedBytes = 1_048_576;

/** Memory of the process that expressions run in, MB. It begins with 75, and an event of 1 MB took 20 more. */
export const maxTransformRssMb = 192;

/** How that process ends itself because of an expression. */
export const endSignals = { timeOver: 'SIGALRM', memoryOver: 'SIGKILL' } as const;

/** One expression and one event. */
export type TransformJob = {
  /** JSONata. */
  expression: string;
  /** The whole event, JSON text; null when the expression is only to be read. */
  event: string | null;
  /** How long it may run here, milliseconds. */
  maxMs: number;
  /** What the clock of the expression shows, milliseconds since 1970, and what its dice begin with. */
  time: number;
  seed: number;
};

/** The result as JSON text, empty when the expression was only read; or why there is none, in words for its author. */
export type TransformAnswer = { body: string } | { problem: string };
