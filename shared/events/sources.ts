/** The `source` of what Handoff itself puts on the bus. A rule that picks sources lets these through as well. */
export const ownSources = {
  /** What was published with the API. */
  api: 'handoff.api',
  /** What Handoff tells of itself, and nobody else may use. */
  itself: 'handoff',
} as const;
