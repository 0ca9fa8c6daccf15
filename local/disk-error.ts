/** Why the engine cannot go on, in sentences for the person at the terminal. No stack is shown for it. */
export class DiskError extends Error {
  override name = 'DiskError' as const;
}
