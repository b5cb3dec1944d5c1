import { describe, expect, it } from 'vitest';
import type { ServerStatistics } from '../api/types';
import { byClass, byServer, daysOld, shareOfOther, stacked, timesOf, visitorsOf } from './series';

const server: ServerStatistics = {
  name: 'ara',
  kept: true,
  from: '2026-03-01T00:00:00Z',
  to: '2026-03-03T09:30:00Z',
  totals: [
    { time: '2026-03-01T00:00:00Z', class: 'ok', count: 8, other: 2 },
    { time: '2026-03-01T00:00:00Z', class: 'refused', count: 2, other: 2 },
    { time: '2026-03-03T00:00:00Z', class: 'ok', count: 6, other: 0 },
    { time: '2027-01-01T00:00:00Z', class: 'ok', count: 4, other: 0 },
  ],
  visitors: [{ day: '2026-03-01T00:00:00Z', visitors: 5 }],
  raw_for: 1_209_600,
  alarm: false,
};
const down: ServerStatistics = {
  name: 'relay',
  failure: 'unreachable',
  kept: false,
  totals: [],
  visitors: [],
  raw_for: 0,
  alarm: false,
};

describe('the times', () => {
  it('have days without accesses', () =>
    expect(timesOf([server], 'day').map((t) => new Date(t).toISOString().slice(0, 10))).toEqual([
      '2026-03-01',
      '2026-03-02',
      '2026-03-03',
    ]));
  it('are hours', () => expect(timesOf([server], 'hour')).toHaveLength(2 * 24 + 10));
  it('are none where no server says any', () => expect(timesOf([down], 'day')).toEqual([]));
  it('are not endless', () => expect(timesOf([{ ...server, to: '9999-01-01T00:00:00Z' }], 'hour')).toHaveLength(1000));
});

describe('the curves', () => {
  const times = timesOf([server, down], 'day');
  it('by result', () => {
    const [ok, refused, limited] = byClass(server, times);
    expect([ok?.values, refused?.values, limited?.values]).toEqual([
      [8, 0, 6],
      [2, 0, 0],
      [0, 0, 0],
    ]);
  });
  it('by server', () =>
    expect(byServer([server, down], times)).toEqual([
      { name: 'ara', values: [10, 0, 6] },
      { name: 'relay', values: [0, 0, 0] },
    ]));
  it('of visitors', () => expect(visitorsOf(server).values).toEqual([5, 0, 0]));
  it('stand on one another', () =>
    expect(
      stacked([
        { name: 'a', values: [1, 2] },
        { name: 'b', values: [3, 0] },
      ]),
    ).toEqual([
      [1, 2],
      [4, 2],
    ]));
});

it('tells the share of what is not told apart', () => {
  expect(shareOfOther(server)).toBeCloseTo(0.2);
  expect(shareOfOther(down)).toBeUndefined();
});

it('counts whole days', () => {
  expect(daysOld('2026-03-01T00:00:00Z', Date.parse('2026-03-14T23:59:59Z'))).toBe(13);
  expect(daysOld('2026-03-01T00:00:00Z', 0)).toBe(0);
});
