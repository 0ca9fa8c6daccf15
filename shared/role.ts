/** What a caller may do, each role with all that the ones before it may. */
export const roles = ['read', 'operate', 'admin'] as const;
export type Role = (typeof roles)[number];

/** The scope of a token, and the group of a person, that gives a role. */
export const scopeOf = (role: Role): string => `handoff/${role}`;
