import type { ServerStatistics } from '../api/types';

export const classes = [
  'ok',
  'refused',
  'limited',
  'failed',
] as const satisfies ServerStatistics['totals'][number]['class'][];
export type Class = (typeof classes)[number];

/** One curve: a number for each of the times. */
export interface Series<Name extends string = string> {
  name: Name;
  values: number[];
}

const hour = 3_600_000;
const day = 24 * hour;

/** The beginnings of all hours or days that the servers tell of, in milliseconds; those without accesses too. */
export function timesOf(servers: readonly ServerStatistics[], by: 'hour' | 'day'): number[] {
  const unit = by === 'hour' ? hour : day;
  const from = Math.min(...servers.flatMap((s) => (s.from ? [Date.parse(s.from)] : [])));
  const to = Math.max(...servers.flatMap((s) => (s.to ? [Date.parse(s.to)] : [])));
  if (!Number.isFinite(from) || !Number.isFinite(to)) return [];
  const first = Math.floor(from / unit) * unit;
  const count = Math.max(0, Math.floor((to - first) / unit) + 1);
  // Far more than the server tells of: a clock that is wrong makes no endless list.
  return Array.from({ length: Math.min(count, 1000) }, (_, i) => first + i * unit);
}

function add(times: readonly number[], into: number[], at: string, n: number): void {
  const i = times.indexOf(Date.parse(at));
  if (i >= 0) into[i] = (into[i] ?? 0) + n;
}

const zeros = (times: readonly number[]) => times.map(() => 0);

/** The accesses of one server by their result. */
export function byClass(server: ServerStatistics, times: readonly number[]): Series<Class>[] {
  return classes.map((name) => {
    const values = zeros(times);
    for (const t of server.totals) if (t.class === name) add(times, values, t.time, t.count);
    return { name, values };
  });
}

/** The accesses of all servers, a curve each. */
export function byServer(servers: readonly ServerStatistics[], times: readonly number[]): Series[] {
  return servers.map(({ name, totals }) => {
    const values = zeros(times);
    for (const t of totals) add(times, values, t.time, t.count);
    return { name, values };
  });
}

/** The days and visitors of a server. */
export function visitorsOf(server: ServerStatistics): { times: number[]; values: number[] } {
  const times = timesOf([server], 'day');
  const values = zeros(times);
  for (const v of server.visitors) add(times, values, v.day, v.visitors);
  return { times, values };
}

/** The share, 0 to 1, of accesses from networks that are not told apart; undefined without accesses. */
export function shareOfOther(server: ServerStatistics): number | undefined {
  const count = server.totals.reduce((n, t) => n + t.count, 0);
  return count > 0 ? server.totals.reduce((n, t) => n + t.other, 0) / count : undefined;
}

/** For a plot of stacked bars: each curve on top of those before it. */
export function stacked(series: readonly Series[]): number[][] {
  const sums: number[][] = [];
  for (const { values } of series) {
    const below = sums.at(-1);
    sums.push(values.map((v, i) => v + (below?.[i] ?? 0)));
  }
  return sums;
}

/** Whole days that have gone, of an age that a policy bounds by days. */
export function daysOld(oldest: string, now: number): number {
  return Math.max(0, Math.floor((now - Date.parse(oldest)) / day));
}
