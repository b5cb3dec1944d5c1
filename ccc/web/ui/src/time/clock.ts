import { useSyncExternalStore } from 'react';

/** Milliseconds by which the server's clock is ahead of this one. */
let offset = 0;

/** Learns the server's time from an answer. */
export function setServerTime(now: string): void {
  const at = Date.parse(now);
  if (Number.isFinite(at)) offset = at - Date.now();
}

/** The server's time, in milliseconds since 1970. */
export function serverNow(): number {
  return Date.now() + offset;
}

/** A clock that tells its listeners when it has got to the next step. */
function ticking(step: number, round: (steps: number) => number) {
  const listeners = new Set<() => void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    // To the edge of the step, so that all on the page change at once.
    timer = setTimeout(
      () => {
        for (const f of listeners) f();
        wait();
      },
      step - (serverNow() % step),
    );
  };
  return {
    subscribe(f: () => void) {
      listeners.add(f);
      if (listeners.size === 1) wait();
      return () => {
        listeners.delete(f);
        if (listeners.size === 0) clearTimeout(timer);
      };
    },
    now: () => round(serverNow() / step) * step,
  };
}

const second = ticking(1000, Math.ceil);
const halfMinute = ticking(30_000, Math.floor);

/** The end of the second that is running: what is over within it counts as over. */
export const useSecond = () => useSyncExternalStore(second.subscribe, second.now);

/** The server's time, anew every 30 seconds. */
export const useHalfMinute = () => useSyncExternalStore(halfMinute.subscribe, halfMinute.now);
