/** A clock that stands still until it is moved. */
export function createClock(start: string) {
  let time = Date.parse(start);
  return {
    now: () => new Date(time),
    advance(ms: number) {
      time += ms;
    },
    set(to: string) {
      time = Date.parse(to);
    },
  };
}
