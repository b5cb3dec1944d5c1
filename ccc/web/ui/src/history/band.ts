import type { HistoryInterval } from '../api/types';

/** A part of the band: what was the case between two places of it, from 0 to 1. */
export interface Part {
  from: number;
  to: number;
  item: HistoryInterval;
}

/** How long an interval has been, in milliseconds, of what is within a time. */
export function lengthOf(item: HistoryInterval, now: number): number {
  return (item.to ? Date.parse(item.to) : now) - Date.parse(item.from);
}

/** Where on a band from one time to another the intervals are, the oldest first. */
export function partsOf(items: readonly HistoryInterval[], from: number, to: number): Part[] {
  const place = (at: number) => Math.min(1, Math.max(0, (at - from) / (to - from)));
  return items
    .map((item) => ({ from: place(Date.parse(item.from)), to: item.to ? place(Date.parse(item.to)) : 1, item }))
    .filter((part) => part.to > 0 && part.from < 1)
    .sort((a, b) => a.from - b.from || a.to - b.to);
}

/** The part at a place; of one without length, the one that is next to it within reach. */
export function partAt(parts: readonly Part[], at: number, reach: number): Part | undefined {
  const short = parts.filter((p) => p.to - p.from < reach && at > p.from - reach && at < p.to + reach);
  return short.at(-1) ?? parts.find((p) => at >= p.from && at < p.to);
}

/** How often the system was away. */
export function outages(items: readonly HistoryInterval[]): number {
  return items.filter((i) => i.state === 'offline' || i.state === 'quarantined').length;
}

/** What is known of round trips: of all parts that have some. */
export function rttParts(parts: readonly Part[]): (Part & { rtt: NonNullable<HistoryInterval['rtt_ms']> })[] {
  return parts.flatMap((p) => (p.item.rtt_ms ? [{ ...p, rtt: p.item.rtt_ms }] : []));
}

const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/** The height of a plot of round trips: a round number above all of them. */
export function ceiling(most: number): number {
  return steps.find((step) => step >= most) ?? Math.ceil(most / 5000) * 5000;
}
