import { expect, it } from 'vitest';
import { dayOf, endOfDay } from './day';

it('goes from a day to a moment and back', () => {
  for (const day of ['2026-11-26', '2028-02-29', '2026-03-29', '2026-12-31']) {
    expect(dayOf(endOfDay(day))).toBe(day);
    expect(Date.parse(endOfDay(day)) % 1000).toBe(0);
  }
  expect(dayOf(undefined)).toBe('');
});
