// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import type { HistoryInterval } from '../api/types';
import { ceiling, outages, partAt, partsOf } from './band';
import { durationText, percentText } from './duration';

const hour = 3_600_000;
const begin = Date.parse('2026-11-26T00:00:00Z');
const at = (hours: number) => new Date(begin + hours * hour).toISOString();

function interval(state: HistoryInterval['state'], from: number, to?: number): HistoryInterval {
  return { id: `${state} ${from}`, state, from: at(from), ...(to !== undefined && { to: at(to) }) };
}

describe('the band', () => {
  const items = [
    interval('online', 12),
    interval('offline', 12, 12),
    interval('offline', 6, 9),
    interval('online', -5, 6),
  ];
  const parts = partsOf(items, begin, begin + 24 * hour);

  it('has each interval in its place, the oldest first', () => {
    expect(parts.map((p) => [p.item.state, p.from, p.to])).toEqual([
      ['online', 0, 0.25],
      ['offline', 0.25, 0.375],
      ['offline', 0.5, 0.5],
      ['online', 0.5, 1],
    ]);
    expect(outages(items)).toBe(2);
  });

  it('leaves out what is not within', () => {
    expect(partsOf(items, begin + 13 * hour, begin + 14 * hour).map((p) => p.item.state)).toEqual(['online']);
    expect(partsOf(items, begin - 20 * hour, begin - 10 * hour)).toEqual([]);
  });

  it('finds what is below the pointer, also what has no length', () => {
    expect(partAt(parts, 0.3, 0.004)?.item.state).toBe('offline');
    expect(partAt(parts, 0.4, 0.004)).toBeUndefined();
    expect(partAt(parts, 0.502, 0.004)?.item.id).toBe('offline 12');
    expect(partAt(parts, 0.51, 0.004)?.item.state).toBe('online');
  });
});

describe('figures', () => {
  it('spans in two units', () => {
    expect(durationText(0, 'en')).toBe('0 sec');
    expect(durationText(59_600, 'en')).toBe('1 min');
    expect(durationText(3 * 86_400_000 + 4 * hour + 59_000, 'en')).toBe('3 days 4 hr');
    expect(durationText(2 * hour, 'de')).toBe('2 Std.');
  });

  it('a share that is not all is not shown as all', () => {
    expect(percentText(100, 'en')).toBe('100%');
    expect(percentText(99.9999, 'en')).toBe('99.99%');
    expect(percentText(91.66, 'en')).toBe('91.7%');
  });

  it('a height for round trips', () => {
    expect([0.4, 18, 50, 51, 9000].map(ceiling)).toEqual([1, 20, 50, 100, 10_000]);
  });
});
