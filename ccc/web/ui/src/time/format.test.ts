// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import { count, countdown, dateTime, elapsed, milliseconds, secondsLeft } from './format';

const at = '2026-03-01T12:00:00Z';
const now = Date.parse(at);

describe('the count-down of a token', () => {
  it.each([
    [now - 86_400_000, 86_400, '24:00:00'],
    [now - 86_399_999, 86_400, '24:00:00'],
    [now - 3_600_000, 3600, '1:00:00'],
    [now - 3_599_000, 3599, '59:59'],
    [now - 9_500, 10, '0:10'],
    [now - 1, 1, '0:01'],
    [now, 0, '0:00'],
    [now + 5000, 0, '0:00'],
  ])('at %d', (clock, seconds, shown) => {
    expect(secondsLeft(at, clock)).toBe(seconds);
    expect(countdown(seconds)).toBe(shown);
  });
  it('is over where the time is none', () => expect(secondsLeft('soon', now)).toBe(0));
});

describe('elapsed', () => {
  it.each([
    [59, null],
    [60, { unit: 'minutes', count: 1 }],
    [3599, { unit: 'minutes', count: 59 }],
    [3600, { unit: 'hours', count: 1 }],
    [86_399, { unit: 'hours', count: 23 }],
    [86_400 * 12, { unit: 'days', count: 12 }],
    [-30, null],
  ])('%d s', (seconds, want) => expect(elapsed(at, now + seconds * 1000)).toEqual(want));
});

describe('formats', () => {
  it('follow the language', () => {
    expect(count(10_000, 'de')).toBe('10.000');
    expect(milliseconds(4.26, 'de')).toMatch(/^4,3\sms$/);
    expect(milliseconds(18.2, 'de')).toMatch(/^18\sms$/);
    expect(dateTime(at, 'fr')).toContain('mars');
    expect(dateTime('never', 'fr')).toBe('');
  });
});
