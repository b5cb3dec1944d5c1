import { describe, expect, it } from 'vitest';
import { nextSort, parseFleetSearch, parseSort } from './fleetSearch';

describe('parseFleetSearch', () => {
  it('takes what it knows', () => {
    const search = { q: 'praxis', status: 'online', reason: 'power', group: 'g-1', tags: ['pilot'], sort: '-serial' };
    expect(parseFleetSearch(search)).toEqual(search);
  });
  it('takes digits, which the address does not tell from text', () => {
    expect(parseFleetSearch({ q: 123456 })).toEqual({ q: '123456' });
  });
  it('leaves out what anybody may write into an address', () => {
    expect(
      parseFleetSearch({ q: {}, status: 'gone', reason: 'constructor', tags: 'pilot', sort: 'password', x: 1 }),
    ).toEqual({});
  });
});

it('goes from ascending to descending to the default', () => {
  expect(nextSort(undefined, 'serial')).toBe('serial');
  expect(nextSort(parseSort('serial'), 'serial')).toBe('-serial');
  expect(nextSort(parseSort('-serial'), 'serial')).toBeUndefined();
  expect(nextSort(undefined, 'name')).toBe('-name');
  expect(nextSort(parseSort('-name'), 'name')).toBeUndefined();
});
