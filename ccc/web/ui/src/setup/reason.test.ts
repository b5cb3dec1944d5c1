import { expect, it } from 'vitest';
import type { SystemEvent } from '../api/types';
import { reasonIn, reasonOf } from './reason';

const event = (kind: string, detail: Record<string, string>): SystemEvent => ({
  id: kind,
  at: '2026-03-01T10:00:00Z',
  kind,
  detail,
});

it('knows the words of a PBX, and keeps the others', () => {
  expect(reasonOf('reported')).toEqual({ reason: 'reported' });
  expect(reasonOf('AUER-1301')).toEqual({ reason: 'other', word: 'AUER-1301' });
  expect(reasonOf(undefined)).toBeUndefined();
  expect(reasonOf('')).toBeUndefined();
});

it('takes the newest event of the kind', () => {
  const events = [
    event('declined', { reason: 'rejected' }),
    event('offered', {}),
    event('declined', { reason: 'tries' }),
  ];
  expect(reasonIn(events, 'declined')).toEqual({ reason: 'rejected' });
  expect(reasonIn(events, 'expired')).toBeUndefined();
});

it('has none where nobody gave the token back', () => {
  expect(reasonIn([event('expired', {}), event('expired', { reason: 'expired' })], 'expired')).toBeUndefined();
});
