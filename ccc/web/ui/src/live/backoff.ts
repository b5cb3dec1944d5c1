/** How long one waits before trying again, in milliseconds. */
export interface Backoff {
  first: number;
  most: number;
}

export const streamBackoff: Backoff = { first: 1000, most: 30_000 };

/**
 * The wait after so many failures in a row: twice as long each time, and at random
 * between half and all of that, so that not all pages come back at once.
 */
export function delay(failures: number, { first, most }: Backoff, random = Math.random()): number {
  const full = Math.min(most, first * 2 ** Math.max(0, failures - 1));
  return Math.round(full * (0.5 + random / 2));
}
