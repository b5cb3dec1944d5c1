import { expect, test } from 'vitest';
import { parseAuditSearch, queryOf } from './search';

test('an address has only what a filter can have', () => {
  expect(
    parseAuditSearch({
      user: 'u-1',
      operation: 'signIn',
      serial: 123456789,
      outcome: 'done',
      from: '2026-11-01',
      to: '2026-11-02',
    }),
  ).toEqual({
    user: 'u-1',
    operation: 'signIn',
    serial: '0123456789',
    outcome: 'done',
    from: '2026-11-01',
    to: '2026-11-02',
  });
  expect(
    parseAuditSearch({ user: '"x"', operation: '1', serial: 'x', outcome: 'good', from: 'now', to: '2026-99-99' }),
  ).toEqual({});
});

test('the last day is in it', () => {
  const { from, to } = queryOf({ from: '2026-11-01', to: '2026-11-01' });
  expect(Date.parse(to ?? '') - Date.parse(from ?? '')).toBe(86_400_000);
  expect(queryOf({ outcome: 'done' })).toEqual({ outcome: 'done' });
});
