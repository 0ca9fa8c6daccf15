/** What stands where AWS would say its region and account: in ARNs, events and signatures. */
export const region = 'us-east-1';
export const accountId = '000000000000';
/** The one bus. */
export const busName = 'handoff';
