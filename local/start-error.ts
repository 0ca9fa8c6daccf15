/** Why the engine cannot start, in one sentence for the person at the terminal. No stack is shown for it. */
export class StartError extends Error {
  override name = 'StartError' as const;
}
