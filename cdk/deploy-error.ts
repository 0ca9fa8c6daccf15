/** Why the stack cannot be put together, in sentences for the person at the terminal. No stack trace is shown for it. */
export class DeployError extends Error {
  override name = 'DeployError' as const;
}
