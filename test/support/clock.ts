/** A clock that stands still until it is moved. */
export function createClock(start: string) {
  let time = Date.parse(start);
  return {
    now: () => new Date(time),
    advance(ms: number) {
      time += ms;
    },
    /** Not back, if it is later already. */
    reach(at: Date) {
      time = Math.max(time, at.getTime());
    },
    set(to: string) {
      time = Date.parse(to);
    },
  };
}
